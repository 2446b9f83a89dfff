"""How do commands and files reach a device?"""
