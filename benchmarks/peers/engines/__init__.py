"""One module per runtime. `load(request)` gives a function from token ids to the next token's id,
and facts for the result; a module is imported only in the environment that has its runtime.
"""
