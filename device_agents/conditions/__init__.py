"""What state is a device in, and what must be put right before it can be trusted?"""
