"""Files to radiographs: headers, patients, pixels as a PACS shows them."""
