"""What is a network, and which networks are there?"""
