"""What several kinds share: the wire form, defaults, validators and printers."""
