"""``bone-ssl serve``: the warm DICOM node."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_bone_ssl.cli.verbs import Verbs, existing, extra, new_verb
from monai_bone_ssl.show.results import EXIT_FAULT, EXIT_OK

__all__ = ["EXAMPLE", "add_verb"]

EXAMPLE = """\
spool = "/var/lib/bone-ssl"       # images and reports on their way, and the ledger
send = "c-store"                  # reports go to [pacs]; "stow-rs": to [dicomweb]
quiet_seconds = 60                # a study is complete when none of its images came for so long
keep_days = 7                     # images stay so long after their report, in case others come late

[receiver]                        # images come by C-STORE
ae_title = "BONESSL"
host = "0.0.0.0"
port = 11112
calling_ae_titles = ["PACS", "CR1"]

[pacs]
host = "pacs.hospital.example"
port = 4242
ae_title = "PACS"

[status]                          # /healthz/live, /healthz/ready and /metrics
host = "127.0.0.1"
port = 8080
"""

_DESCRIPTION = f"""\
Run a DICOM node. It receives radiographs by C-STORE, or fetches them from a DICOMweb server, waits until a
study is complete, analyses the study, and sends one DICOM SR for it by C-STORE or STOW-RS.

An image that was acknowledged is never lost: images, state and reports are on disk, and a restart goes on
from there. A report is sent until it arrives. A study with two patients, or without an image that the model
was made for, gets no report. The log has one JSON object a line, names studies by their Study Instance UID,
and holds no other patient data.

The settings in serve.toml (an unknown key is an error):

{EXAMPLE}
more settings, with their defaults where there are any:
  replica = "name"                  name of this process in the ledger; default: the host's name
  evidence = ["sc", "seg"]          objects to send beside each report: the evidence as a Secondary Capture
                                    (about 6 MB an image), and its strongest patches as a Segmentation;
                                    none by default
  model = "folder"                  model folder; default: the model that comes with the package
  ledger_url_file = "file"          file with an SQLAlchemy URL (postgresql+pg8000://user:password@host/db),
                                    for several replicas on one spool; default: SQLite in the spool
  keep_study_days = 365             a study stays so long in the ledger after its end, without its images
  reserve_mb = 500                  images are refused (A700) when less space would be left on the disk
  analysis_limit_seconds = 600      an analysis that takes longer is ended, and its study fails
  confirm = true                    ask [dicomweb], where it is set up, if it has the report that was sent
  lease_seconds = 60                a replica that is silent for so long loses its studies to the others
  retry_seconds = 2, retry_limit_seconds = 300, stop_seconds = 20
  [receiver] max_associations = 20  and max_associations_per_host = 10, idle_seconds = 60,
                                    max_object_mb = 512; the conformance statement lists all limits
  [receiver.tls] certificate, key   and ca, to demand certificates of senders; PEM files
  [pacs.tls] ca                     and certificate, key, where the PACS demands them
  [pacs] calling_ae_title = "BONESSL"
  [dicomweb] url                    and token_file, or username and password_file; ca; timeout_seconds = 30
  [poll] every_seconds = 30         fetch studies from [dicomweb]; modalities = ["CR", "DX"],
                                    lookback_days = 1

Secrets stand in the files named above, or in the environment: BONE_SSL_LEDGER_URL, BONE_SSL_DICOMWEB_TOKEN,
BONE_SSL_DICOMWEB_PASSWORD.

exit codes: 0 stopped by SIGTERM or SIGINT, 1 a fault, 2 serve.toml is wrong

example:
  bone-ssl serve --config serve.toml
"""


def add_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = new_verb(verbs, "serve", "a DICOM node: studies in, reports back", _DESCRIPTION, _run)
    parser.add_argument(
        "--config", required=True, type=existing, metavar="FILE.toml", help="file with the settings"
    )


def _run(arguments: argparse.Namespace) -> int:
    with extra("serve"):
        from monai_bone_ssl.service.serve import serve
        from monai_bone_ssl.service.settings import load_settings

    config: Path = arguments.config
    return EXIT_OK if serve(load_settings(config)) else EXIT_FAULT
