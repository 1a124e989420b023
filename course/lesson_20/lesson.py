# %% [markdown]
# # 20 · Capstone
#
# {{BADGE}}
#
# **You will**
#
# - measure how long a perturbation is, text by text.
#
# **Time** {{TIME}} About 60 minutes for you.
#
# **Before** Lesson 00.

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · The first idea
#
# Say what is at stake, then let it be predicted, run and read. Nothing on the page before the
# reveal gives the result away.

# %%
import torch

from course.lesson_20 import figures

delta = torch.randn(200, 4, 8, generator=torch.Generator().manual_seed(profile.seed))

# %% [markdown]
# ### Prediction 20.a: random numbers, 32 to a text
#
# Each text has 4 tokens of 8 coordinates, all standard normal. How long is `delta` on average?

# %%
guess = course.predict("20.a", "mean L2 length of a text's delta", low=0, high=32)

# %% [markdown]
# ### Exercise 20.1: one length a text · ●○○ · 5 min
#
# Write `length(delta)`. `delta` has shape `(batch, tokens, hidden)`; return the L2 norm of each
# text's delta over all its tokens and coordinates, shape `(batch,)`.
#
# <details><summary>Hint</summary>
#
# `.norm` takes several dimensions: `dim=(1, 2)`.
#
# </details>


# %%
def length(delta):
    """The L2 norm of each text's delta, (batch,)."""
    # SOLUTION


length = course.exercise("20.1", length)

# %%
sizes = length(delta)
guess.reveal(sizes.mean().item())
course.claim("20.length", sizes=sizes)
figures.lengths(sizes)

# %% [markdown]
# *Across: the L2 length of a text's delta. Up: how many of the texts have it.*
#
# <details><summary>What you should see</summary>
#
# One hill around the square root of 32.
#
# </details>
#
# ## Recap
#
# - What the reader should keep.
#
# ## What could go wrong
#
# - The mistakes that people make with this, and how they show.
#
# ## Further reading
#
# - Authors, *Title*, venue year, arXiv id: each one checked.
#
# > **Ethics** The threat model of this lesson, and who could be harmed.

# %%
course.progress("20")
