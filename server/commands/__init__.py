"""One module a verb of the command `smdp`; each exports `app` (a group of verbs) or `command` (one verb)."""
