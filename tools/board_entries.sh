#!/usr/bin/env bash
# For .github/workflows/board.yml: put what a pull request adds to the board into the working tree of
# the main branch, staged, and print its entries, a line each. Refuses, with a sentence, a pull request
# that does anything else.
#
#     tools/board_entries.sh BASE HEAD
set -euo pipefail
base=$(git merge-base "$1" "$2") head=$2

refuse() { echo "refused: $1" >&2; exit 1; }

# Names with signs of their own are quoted by git, and so match nothing here.
changed=$(git diff --no-renames --name-status "$base" "$head")
new='^A	board/((defences|attacks)/[a-z0-9-]+/[A-Za-z0-9_./-]+|results/v[0-9]+/[a-z0-9-]+/[a-z0-9-]+\.json)$'
page='^M	(board/lines\.jsonl|docs/board\.md)$'
other=$(grep -Ev "$new|$page" <<< "$changed" || true)
[ -z "$other" ] || refuse "an entry adds files to board/ and changes lines.jsonl and docs/board.md, and nothing else: $other"
links=$(git diff --no-renames --raw "$base" "$head" | grep -E '^:[0-9]+ 1[26]0000' || true)
[ -z "$links" ] || refuse "there is a link or a submodule: $links"
gone=$(git diff --numstat "$base" "$head" -- board/lines.jsonl | cut -f2)
[ "${gone:-0}" = 0 ] || refuse "lines of the history are changed or gone"

entries=$(grep -Eo 'board/(defences|attacks)/[a-z0-9-]+' <<< "$changed" | sort -u || true)
[ -n "$entries" ] || refuse "there is no new entry"

git diff --binary "$base" "$head" -- board docs/board.md | git apply --index
echo "$entries"
