"""Published weights on this machine: what is there, and how more get there. Only `fetch` uses the network.

catalogue   what the table lists, and the state of each on this machine
store       put files into the user's folder: check, recognise, record
fetch       download what is missing, after looking at what is there
web, hub    plain addresses; the Hugging Face hub
drive       Google Drive, with the extra `drive`
convert     published files to safetensors, by the model's program
"""
