"""What can be wrong with an archive."""


class ArchiveError(ValueError):
    """The file is no bitfall archive, or a damaged one. The sentence names the file."""


class VersionError(ArchiveError):
    """The archive has a format that this package does not know."""
