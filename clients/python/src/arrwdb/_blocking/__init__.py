"""The blocking client: made from the asyncio one, but for what threads do."""
