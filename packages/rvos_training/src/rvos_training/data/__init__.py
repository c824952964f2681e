"""Samples and batches: from videos, images and annotations on disk to what a network takes."""
