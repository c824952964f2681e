"""The network of ReferFormer and MUTR, file by file as in their figures."""
