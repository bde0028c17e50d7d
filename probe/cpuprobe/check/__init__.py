"""What a file needs: .cwasm, ELF and raw code -> features."""
