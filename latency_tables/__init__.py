"""What does each layer cost on that device?"""
