"""The network of ReferFormer and MUTR, in the order of their figures: segmenter, queries, masks."""
