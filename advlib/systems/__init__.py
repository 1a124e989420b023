"""Small parts that a program in `examples/` and a lesson share. No page and no server.

    retrieval   questions and answers: pooling, a safe query, rank fusion, a threshold
    charts      control charts: CUSUM, EWMA, calibrated; near duplicates
    ranking     rankings: NDCG, exposure, a seller who rewords
    clicks      from clicks to a ranker: features without a leak, boosted trees, why
"""
