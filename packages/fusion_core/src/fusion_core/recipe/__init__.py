"""Recipes: who predicts, what is propagated, which run is voted from which, and how.

nodes       predict, propagate, vote, choose, gate, rescore
graph       a recipe as data: nodes, models, rows of its table
published   the published recipe and its variants
modern      the recipe of today's models
named       recipes by their names
toml        recipes in TOML files
toml_file   TOML files whose errors name the line
weights     which weights the models of a recipe get
windows     windows for programs that hold a whole video, where it is too long for the memory
"""
