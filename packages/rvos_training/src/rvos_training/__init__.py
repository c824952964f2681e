"""What training SOC, MUTR and ReferFormer has in common: clips, matching, losses, the loop."""
