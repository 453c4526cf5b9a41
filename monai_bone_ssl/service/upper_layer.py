"""pynetdicom's receiving side with bounds on what a peer may cost.

pynetdicom has no settings for these, so parts of it are replaced through its own classes: the TLS handshake
leaves the loop that accepts connections; reading a PDU has a limit of length and of time; a data set goes to
a file as it comes; a peer that sends what pynetdicom cannot handle ends its own association and nothing else.
What this relies on inside pynetdicom is pinned by tests.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.events import Event, EventHandlerType
from pynetdicom.fsm import StateMachine
from pynetdicom.pdu_primitives import A_P_ABORT, P_DATA
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from monai_bone_ssl.errors import ReportError
from monai_bone_ssl.faults import WithoutMessage
from monai_bone_ssl.service.connections import Connections
from monai_bone_ssl.service.incoming import IncomingObject
from monai_bone_ssl.service.settings import ReceiverSettings
from monai_bone_ssl.service.spool import Spool

