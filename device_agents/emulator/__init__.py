"""A phone to practise on: the adb daemon's protocol over TCP, with no hardware."""
