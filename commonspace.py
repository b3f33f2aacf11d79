"""commonspace, for those who read: `open` a published space, search it, take its rows.

Needs neither torch nor Airflow (torch only to search by text or image).
"""

from encoders.errors import CommonspaceError
from encoders.spec import EncoderSpec, differences
from pipeline.read import Space, open_space

open = open_space  # noqa: A001  (`commonspace.open("books/blurb")` is how it reads best)

__all__ = ["CommonspaceError", "EncoderSpec", "Space", "differences", "open"]
