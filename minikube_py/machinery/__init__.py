"""What an API object is: pure functions over plain JSON data, no I/O and no asyncio."""
