"""ReferFormer: referring video segmentation by language as queries (Wu et al., CVPR 2022)."""
