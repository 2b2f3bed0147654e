# Ends the server of a cluster that no process holds, and deletes its files. See cluster.rs.
folder=$1
grace=$2

is_held() {
    held=1
    for holder in "$1"/*; do
        pid=${holder##*/}
        [ "$pid" = '*' ] && continue
        if kill -0 "$pid" 2>/dev/null; then held=0; else rm -f "$holder"; fi
    done
    return $held
}

idle=0
while [ "$idle" -le "$grace" ]; do
    # Its owner has deleted the files and ended the server.
    [ -d "$folder" ] || exit 0
    if is_held "$folder/holders"; then idle=0; else idle=$((idle + 1)); fi
    sleep 1
done

# Nobody can become a holder any more. Who became one in the meantime may use the server to the end.
mv "$folder/holders" "$folder/last-holders"
while is_held "$folder/last-holders"; do sleep 1; done

# The number in the file may be that of another process by now.
pid=$(head -n 1 "$folder/data/postmaster.pid" 2>/dev/null)
is_server() {
    [ -n "$pid" ] && { grep -qsF "$folder" "/proc/$pid/cmdline" || ps -o args= -p "$pid" 2>/dev/null | grep -qF "$folder"; }
}
if is_server; then
    kill -s QUIT "$pid"
    tries=0
    while is_server && [ "$tries" -lt 20 ]; do
        sleep 1
        tries=$((tries + 1))
    done
    is_server && kill -s KILL "$pid"
fi
rm -rf "$folder"
