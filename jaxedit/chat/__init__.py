"""Questions with pictures to chat models, through an OpenAI-compatible server or through files."""
