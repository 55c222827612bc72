# Processes by state, threads, and processes by name.
#   PID (name) state parent ... threads ...
# The name may hold spaces, brackets and quotes: the state is what follows the last `) `.

BEGIN {
    root = setting("root", "/proc")
    split("R S D Z T t I X", letter)
    split("running sleeping waiting zombie stopped traced idle dead", word)
    for (i = 1; i <= 8; i++) state[letter[i]] = word[i]
    split("running sleeping waiting zombie stopped idle other", known)

    # One `cat` for all of them: a process that ends meanwhile is no news, and costs no more than a
    # line on its standard error.
    cats = "cat " shell(root) "/[0-9]*/stat 2>/dev/null"
    while ((cats | getline line) > 0) {
        open = index(line, "(")
        if (!match(line, /.*[)] /) || !open) continue
        name = substr(line, open + 1, RLENGTH - open - 2)
        split(substr(line, RLENGTH + 1), f, " ")
        all++
        threads += f[18]
        one = (f[1] in state) ? state[f[1]] : "other"
        if (one == "traced") one = "stopped"
        if (one == "dead") one = "other"
        processes[one]++
        for (i = 1; i <= SET["names", "n"] + 0; i++) if (like(name, SET["names", i])) named[i]++
    }
    close(cats)
    if (!all) fail("no processes in " root)

    # All states every time: a series that comes and goes cannot be told from one that was lost.
    for (i = 1; i <= 7; i++) metric("processes", processes[known[i]] + 0, tag("state", known[i]))
    metric("processes_total", all)
    metric("zombies", processes["zombie"] + 0)
    metric("threads", sprintf("%.0f", threads))
    for (i = 1; i <= SET["names", "n"] + 0; i++)
        metric("processes_named", named[i] + 0, tag("process", SET["names", i]))

    while ((getline line < (root "/stat")) > 0)
        if (line ~ /^processes /) metric("processes_started", whole(substr(line, 11)))
}
