# What the programs of this package share: settings, records, and JSON that is safe to print.
#
# Any awk will do. Characters are bytes here (LC_ALL=C), so that names that are not UTF-8 can be told
# from those that are. Nothing is read from standard input.

BEGIN {
    for (_i = 1; _i < 256; _i++) ORD[sprintf("%c", _i)] = _i
    settings_read()
}

# --- Saying what is wrong ---------------------------------------------------------------------

function warn(message) { print "W! " message > "/dev/stderr" }
function fail(message) { print "E! " message > "/dev/stderr"; exit 1 }

# --- Records, one to a line; types, units and labels are in the manifest ------------------------

# The value is a number as text, or `null`; tags are made by `tag`, with commas between them.
function metric(name, value, tags) {
    print "{\"name\":\"" name "\",\"value\":" value (tags == "" ? "" : ",\"tags\":{" tags "}") "}"
}

function tag(key, text) { return "\"" key "\":" quote(text) }

# A number exactly as it was read (no arithmetic, which ends at 2^53), else an explicit gap.
function whole(text) { return text ~ /^[0-9]+$/ ? text "" : "null" }

function number(text) { return text ~ /^[0-9]+([.][0-9]+)?$/ ? text "" : "null" }

function percent(part, all) { return all > 0 ? sprintf("%.2f", 100 * part / all) : "null" }

# A text of any bytes as a JSON string. A byte that is not part of valid UTF-8 is written as `\xNN`, and
# so is a control character, which no tag may have.
function quote(text,    out, i, c, code, n) {
    if (text !~ /[^ -~]/ && text !~ /["\\]/) return "\"" text "\""
    for (i = 1; i <= length(text); i += n) {
        c = substr(text, i, 1); code = ORD[c] + 0; n = 1
        if (c == "\"" || c == "\\") c = "\\" c
        else if (code < 32 || code > 126) {
            n = utf8(text, i, code)
            if (n) c = substr(text, i, n)
            else { c = sprintf("\\\\x%02x", code); n = 1 }
        }
        out = out c
    }
    return "\"" out "\""
}

# How many bytes the UTF-8 character at `i` has that is not ASCII. 0 if there is none, or a form that
# is too long, a surrogate, or a control character.
function utf8(text, i, lead,    n, j, second) {
    n = lead < 194 ? 0 : lead < 224 ? 2 : lead < 240 ? 3 : lead < 245 ? 4 : 0
    for (j = 1; j < n; j++)
        if (ORD[substr(text, i + j, 1)] < 128 || ORD[substr(text, i + j, 1)] > 191) return 0
    second = ORD[substr(text, i + 1, 1)]
    if (lead == 194 && second < 160) return 0
    if (lead == 224 && second < 160 || lead == 237 && second > 159) return 0
    if (lead == 240 && second < 144 || lead == 244 && second > 143) return 0
    return n
}

# --- Settings -----------------------------------------------------------------------------------
# SET["root"] is a value (true is 1, false 0); a list has SET["names", 1] and on, and SET["names", "n"].

function setting(key, otherwise) { return key in SET ? SET[key] : otherwise }

# Whether the text fits one of the patterns (`*`, `?`) in a list.
function listed(text, key,    i) {
    for (i = 1; i <= SET[key, "n"] + 0; i++) if (like(text, SET[key, i])) return 1
    return 0
}

# Whether it is to be looked at: in the list `key` if that has anything, and not in the list `but`.
function wanted(text, key, but) {
    return (SET[key, "n"] + 0 == 0 || listed(text, key)) && !listed(text, but)
}

function like(text, pattern,    c, i) {
    while ((c = substr(pattern, 1, 1)) != "") {
        pattern = substr(pattern, 2)
        if (c == "*") {
            for (i = 1; i <= length(text) + 1; i++) if (like(substr(text, i), pattern)) return 1
            return 0
        }
        if (text == "" || c != "?" && c != substr(text, 1, 1)) return 0
        text = substr(text, 2)
    }
    return text == ""
}

function settings_read(    file, line, got) {
    if ((file = ENVIRON["TALAIA_CONFIG"]) == "") return
    while ((got = (getline line < file)) > 0) JSON = JSON line "\n"
    if (got < 0) fail("cannot read the settings in " file)
    close(file)
    json_value("")
    if (JSON ~ /[^ \t\r\n]/) json_wrong()
}

function json_wrong() { fail("the settings are not JSON at: " substr(JSON, 1, 40)) }

# Takes what the expression matches off the front, after any space, and returns it.
function json_take(expression,    found) {
    sub(/^[ \t\r\n]+/, "", JSON)
    if (!match(JSON, "^(" expression ")")) return ""
    found = substr(JSON, 1, RLENGTH)
    JSON = substr(JSON, RLENGTH + 1)
    return found
}

function json_value(key,    n, word, name) {
    if (json_take("[{]") != "") {
        if (json_take("[}]") != "") return
        do {
            if (json_take("\"") == "") json_wrong()
            name = json_text()
            if (json_take(":") == "") json_wrong()
            json_value(key == "" ? name : key "." name)
        } while (json_take(",") != "")
        if (json_take("[}]") == "") json_wrong()
    } else if (json_take("[[]") != "") {
        SET[key, "n"] = 0
        if (json_take("[]]") != "") return
        do { n++; json_value(key SUBSEP n) } while (json_take(",") != "")
        SET[key, "n"] = n
        if (json_take("[]]") == "") json_wrong()
    } else if (json_take("\"") != "") SET[key] = json_text()
    else if ((word = json_take("[-+.0-9eE]+")) != "") SET[key] = word + 0
    else if (json_take("true") != "") SET[key] = 1
    else if (json_take("false") != "") SET[key] = 0
    else if (json_take("null") == "") json_wrong()
}

# The rest of a string, after its first quote.
function json_text(    out, c) {
    for (;;) {
        if (match(JSON, /^[^"\\]+/)) {
            out = out substr(JSON, 1, RLENGTH)
            JSON = substr(JSON, RLENGTH + 1)
        }
        c = substr(JSON, 1, 1)
        if (c == "") json_wrong()
        if (c == "\"") { JSON = substr(JSON, 2); return out }
        c = substr(JSON, 2, 1)
        if (c == "u") { out = out json_character(); continue }
        JSON = substr(JSON, 3)
        out = out (c == "n" ? "\n" : c == "t" ? "\t" : c == "r" ? "\r" : c == "b" ? "\b" : c == "f" ? "\f" : c)
    }
}

# The UTF-8 of a `\uXXXX`, or of two that are one character.
function json_character(    code, low) {
    code = json_hex()
    if (code >= 55296 && code < 56320 && substr(JSON, 1, 2) == "\\u") {
        low = json_hex()
        code = 65536 + (code - 55296) * 1024 + low - 56320
    }
    if (code == 0) return ""    # no name has it
    if (code < 128) return sprintf("%c", code)
    if (code < 2048) return sprintf("%c%c", 192 + int(code / 64), 128 + code % 64)
    if (code < 65536)
        return sprintf("%c%c%c", 224 + int(code / 4096), 128 + int(code / 64) % 64, 128 + code % 64)
    return sprintf("%c%c%c%c", 240 + int(code / 262144), 128 + int(code / 4096) % 64, \
        128 + int(code / 64) % 64, 128 + code % 64)
}

function json_hex(    i, code) {
    for (i = 3; i <= 6; i++) code = code * 16 + index("123456789abcdef", tolower(substr(JSON, i, 1)))
    JSON = substr(JSON, 7)
    return code
}

# --- For commands ---------------------------------------------------------------------------------

function shell(text) { gsub(/'/, "'\\''", text); return "'" text "'" }
