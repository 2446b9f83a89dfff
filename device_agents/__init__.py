"""Where does a file run, and how long does it take there?"""
