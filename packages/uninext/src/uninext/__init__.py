"""UNINEXT: referring video segmentation frame by frame, with ViT-H or ConvNeXt-L, on detectron2."""
