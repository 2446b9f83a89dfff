"""What should be tried next, and how good is it?"""
