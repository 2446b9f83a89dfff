"""How does a network become a .tflite file?"""
