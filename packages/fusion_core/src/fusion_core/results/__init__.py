"""What a recipe is for: the submission of its final run, scores, and what each part of the recipe adds.

writer     writes them
ablation   the table of what each part adds
"""
