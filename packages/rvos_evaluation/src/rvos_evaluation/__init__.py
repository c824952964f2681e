"""J and F of mask runs against ground truth, and the protocols of the benchmarks.

Importing this package is cheap; import the modules you need:

    from mask_interchange import MaskRun
    from rvos_evaluation.annotations import open_annotations
    from rvos_evaluation.evaluation import evaluate_run

    evaluation = evaluate_run(MaskRun.open("runs/soc"), open_annotations("valid/Annotations"))
    print(evaluation.overall.jf)
"""
