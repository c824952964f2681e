"""What SOC, MUTR and ReferFormer share; import from the modules of this package."""
