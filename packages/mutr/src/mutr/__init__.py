"""MUTR: multi-modal temporal transformer for referring video segmentation (Yan et al., AAAI 2024)."""
