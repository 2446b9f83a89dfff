"""The official timing tool: how it is asked, what it answers, and where its binary comes from."""
