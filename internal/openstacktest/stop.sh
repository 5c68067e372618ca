#!/bin/bash
# usage: stop.sh DIR; ends what start.sh started there, mariadb and rabbitmq last. Some rewrite
# their title and with it their environment: then the command line tells.
D=$1
mine(){ grep -qz "^HOME=$D$" "/proc/$1/environ" 2>/dev/null || tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -qF "$D/"; }
stop(){ local P; P=$(cat "$D/pid/$1" 2>/dev/null) || return; mine "$P" && kill -- "-$P" 2>/dev/null; }
for n in $(ls "$D/pid" 2>/dev/null | grep -vE '^(mysql|rabbit)$') rabbit mysql; do stop "$n"; done
sleep 3
for e in /proc/[0-9]*/environ; do # helpers that left their group: epmd, privsep
  p=${e#/proc/}; p=${p%/environ}
  [ "$p" != $$ ] && [ "$p" != $PPID ] && mine "$p" && ! tr '\0' ' ' <"/proc/$p/cmdline" | grep -qF stop.sh && kill -9 "$p" 2>/dev/null
done
exit 0
