"""What SOC, MUTR and ReferFormer have in common, written once; import from the modules of this package."""
