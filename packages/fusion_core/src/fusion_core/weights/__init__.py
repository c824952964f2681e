"""Published weights on this machine: what is there, and how more get there. Only `fetch` uses the network.

catalogue   what the table lists, and the state of each on this machine
store       put files into the user's folder: check, recognise, record
fetch       download what is missing, after looking at what is there
web         files at plain addresses
hub         files on the Hugging Face hub
drive       files on Google Drive, with the extra `drive`
convert     published files to safetensors, by the model's program
"""
