"""The warm DICOM node, ``bone-ssl serve``: images in, one DICOM SR a study out.

Images come by C-STORE or are fetched from a DICOMweb server; each is on disk and in the ledger before it is
acknowledged. A study that has been quiet for a while is analysed by the same pipeline as
``bone-ssl analyze``; its report, and the evidence objects where they are asked for, are sent by C-STORE or
STOW-RS until they arrive.

========================================  ==================================================================
What happens                              What becomes of it
========================================  ==================================================================
An image is received                      state ``received``; the quiet period starts again
The same image again, also in another     acknowledged, nothing else
transfer syntax
The same instance, other content          both are kept; the pipeline refuses that image
An image for a study already reported     the study is analysed again as a whole; the report of the grown
                                          study is another document, which names the one before
A corrected name or id of a patient       ``bone-ssl queue forget``, then the study is sent again
A calling AE title that is not listed     association rejected
A peer that is slow, silent or greedy,    its connection is cut, see ``[receiver]``; the others go on
or sends what is no DICOM
An image larger than ``max_object_mb``    C-STORE answers C000
The disk, or its reserve, is full         C-STORE answers A700 (out of resources): the sender keeps the image
The ledger cannot be reached              C-STORE answers A700
A data set that cannot be understood      C-STORE answers C000
Two patients in one study                 ``failed``, ``conflicting_patient``; nothing is sent
Nothing in it the model was made for      ``nothing_eligible`` with the first reason; nothing is sent
No image could be read                    ``failed`` with the first reason; nothing is sent
The analysis cannot write, or the model   back to ``complete``, tried again later; ``failed``,
cannot run                                ``analysis_abandoned``, after 20 attempts in a row
A header does not allow an evidence       it is left out and logged; the report is sent
object
The archive does not hand out an image    the others are fetched; tried again for half a day, then the report
of a study that is fetched                is PARTIAL
The archive has lost a study that is      ``failed``, ``fetch_abandoned``, after as long
fetched
A report is damaged in the spool          back to ``complete``: it is made again
An analysis takes too long                its process is ended; ``failed``, ``time_limit``
The PACS takes reports but no evidence    the report arrives; the study stays ``to_send`` and is tried again
The PACS refuses the report for good      ``failed``, ``report_refused``
The PACS takes the report and loses it    sent again, where [dicomweb] can be asked
The PACS is down or refuses               stays ``to_send``, tried again for ever, ever more slowly
The service is killed at any moment       goes on where it was; a report sent twice has the same UID.
                                          A study whose analysis was cut short waits a little longer each
                                          time, and is ``failed``, ``analysis_abandoned``, after 20 times
SIGTERM                                   no new association, open ones may finish, the running study is
                                          finished or left to the next start; exit 0
========================================  ==================================================================
"""
