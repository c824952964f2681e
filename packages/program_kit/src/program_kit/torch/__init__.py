"""What programs that compute with torch share. Needs the extra `program-kit[torch]`; nothing outside imports it."""
