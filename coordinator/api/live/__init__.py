"""What the page in the browser needs beside the API: its files, its login, and events as things change.

The files are in `coordinator/api/pages/`: ES modules and one stylesheet as they are, without a build.
"""
