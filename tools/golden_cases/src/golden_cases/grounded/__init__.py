"""Tests that ReferFormer and MUTR share. The modules need the extra `grounded`."""
