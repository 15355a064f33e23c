"""Download the photos of a CSV of ids and URLs.

    python -m setup.download_images --url_csv mp16_urls.csv --output DIR --contact you@example.org

Dead links are normal in such lists: every row ends in `DIR/report.csv` with its status, and
the count of each cause is printed. A photo lies at `DIR/<id>.jpg`, its short side `--size` pixels. Stop and
start again with `--resume`: what is there is kept, what is gone for good (404, 410) is not asked
for again. Careful by default: size, pixel, time and redirect limits, public addresses only
(`setup/address_guard.py`), a User-Agent that says whom to write to.
"""

import argparse
import asyncio
import csv
import hashlib
import io
import os
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from email.message import Message
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import simplejpeg
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data.images import ImageError, decode_rgb
from data.tables import safe_key
from setup.address_guard import BlockedAddressError, GuardedTransport
