-- DAMC (nodes/WIRE.md) for Wireshark and tshark 3.6 and newer: `wireshark -X lua_script:damc.lua FILE`.
--
-- The text in the info column is the line that `damc capture` prints. `damc.drop` is the reason for which every
-- receiver drops a frame because of its bytes alone; what needs keys or state (a MAC, a signature, a route) is shown,
-- not judged. `nodes/wire/tests/dissector.rs` compares all of this with the Rust decoder.

local damc = Proto("damc", "DAMC")

-- One file, though a long one: a dissector is copied into a folder of plugins.

-- ===== Registries (WIRE.md section 23) =====

local VERSION, HEADER_LEN, MAX_PDU, MAX_BODY = 1, 16, 1500, 512
local LINK_MAC_LEN = 16
local ROUTED_HEADER_LEN = HEADER_LEN + LINK_MAC_LEN
local HOP_MAC_LEN, MIN_ETHERNET_PAYLOAD, MAX_NAMES_LEN, MAX_COST = 27, 46, 256, 0xffffff
local ETHERTYPE = 0x88b5

local ROLES = {
    [1] = "sr", [2] = "sg", [3] = "spa", [4] = "scsc", [5] = "pod",
}
local CLASSES = {
    [1] = "announcement", [2] = "lsa", [3] = "authentication", [4] = "qos",
}
local MESSAGE_TYPES = {
    [0x01] = "hello", [0x02] = "echo", [0x10] = "announce", [0x11] = "announce-reply",
    [0x20] = "ls-update", [0x21] = "ls-ack", [0x22] = "db-summary", [0x23] = "ls-request",
    [0x30] = "auth-request", [0x31] = "auth-reply", [0x32] = "revoke", [0x33] = "revoke-ack",
    [0x40] = "topology", [0x41] = "topology-ack", [0x42] = "attach", [0x43] = "attach-ack",
    [0x80] = "data", [0x81] = "telemetry", [0x82] = "policy", [0x83] = "qos-ack", [0x84] = "probe", [0x85] = "probe-reply", [0x86] = "task", [0x87] = "task-report",
    [0x88] = "nack", [0x89] = "path-query", [0x8A] = "path-reply", [0x8B] = "packet",
}
local TLV_TYPES = {
    [0x81] = "destination", [0x82] = "source", [0x83] = "body", [0x84] = "lsa", [0x85] = "lsa-header",
    [0x86] = "certificate", [0x87] = "grant", [0x88] = "announcement", [0x89] = "outcome", [0x8A] = "path-report",
    [0x8B] = "link-report", [0x8C] = "payload", [0x8D] = "checksum", [0x0E] = "hop", [0x8F] = "signature",
    [0x90] = "hop-mac", [0x92] = "attachment", [0x11] = "padding", [0x13] = "trace-context",
}
local REFUSAL_REASONS = {
    [0] = "accepted",
    [1] = "not-licensed", [2] = "bad-prefix", [3] = "bad-identity", [4] = "conflict", [5] = "spa-unreachable",
    [6] = "revoked", [7] = "overloaded", [8] = "rate-limited", [9] = "held-down", [16] = "no-route",
    [17] = "no-such-instance", [18] = "hop-limit-exceeded", [19] = "source-not-authorised", [20] = "no-such-method",
    [21] = "bad-arguments", [22] = "deadline-exceeded", [23] = "failed", [24] = "service-unavailable",
    [25] = "too-large",
}
local DROP_REASONS = {
    [0] = "accepted",
    [1] = "truncated", [2] = "oversized", [3] = "bad-version", [4] = "unknown-type", [5] = "unknown-critical-tlv",
    [6] = "malformed", [7] = "bad-name", [8] = "wrong-role", [9] = "no-adjacency", [10] = "domain-mismatch",
    [11] = "parameter-mismatch", [12] = "bad-certificate", [13] = "bad-signature", [14] = "missing-mac",
    [15] = "bad-mac", [16] = "replayed", [17] = "duplicate-identity", [18] = "stale-lsa", [19] = "min-arrival",
    [20] = "not-authorised", [21] = "grant-expired", [22] = "resource-limit", [32] = "no-route",
    [33] = "no-such-instance", [34] = "hop-limit-exceeded", [35] = "source-not-authorised", [36] = "port-down",
    [37] = "queue-full", [38] = "bad-checksum", [39] = "looped", [40] = "send-failed", [48] = "stale-policy",
    [49] = "policy-expired", [50] = "policy-unreachable", [51] = "unsolicited",
}
local LSA_KINDS = { [1] = "topology", [2] = "prefix" }
local PROOFS = { [1] = "grant", [3] = "attached" }
local ANNOUNCEMENTS = { [0] = "withdraw", [1] = "add", [2] = "add to a pool" }
local DATA_KINDS = { [1] = "request", [2] = "response", [3] = "error" }
local ACTIONS = { [1] = "ingress", [2] = "transit", [3] = "egress", [4] = "released", [5] = "withdrawn" }

-- The class of each type that the drafts give one, by its high bits or its number.
local function class_of(code)
    if code >= 0x10 and code < 0x40 then return math.floor(code / 16) end
    if (code >= 0x40 and code <= 0x43) or (code >= 0x81 and code <= 0x8a and code ~= 0x88) then return 4 end
end

-- ===== Fields =====

local F = {}
local UNITS = { ms = { " ms" }, ns = { " ns" }, bps = { " bit/s" }, ppm = { " ppm" } }

local function number(bits, display, names)
    for abbreviation, title in pairs(names) do
        local values = type(display) == "table" and display or UNITS[display]
        local in_hex = display == "hex" or display == MESSAGE_TYPES or display == TLV_TYPES
        local form = UNITS[display] and base.UNIT_STRING or in_hex and base.HEX or base.DEC
        F[abbreviation] = ProtoField["uint" .. bits]("damc." .. abbreviation, title, form, values)
    end
end
local function plain(kind, names)
    for abbreviation, title in pairs(names) do F[abbreviation] = ProtoField[kind]("damc." .. abbreviation, title) end
end
local function flag(mask, names)
    for abbreviation, title in pairs(names) do
        F[abbreviation] = ProtoField.bool("damc." .. abbreviation, title, 8, nil, mask)
    end
end

number(8, "dec", { version = "Version", hop_limit = "Hop limit", ["hello.echo_multiplier"] = "Echo multiplier",
    ["certificate.names"] = "Names", ["grant.depth"] = "Depth" })
number(8, "hex", { flags = "Flags", ["trace.flags"] = "Trace flags" })
number(8, MESSAGE_TYPES, { type = "Type", ["nack.answered"] = "Answered type" })
number(8, CLASSES, { class = "Class" })
number(8, TLV_TYPES, { ["tlv.type"] = "TLV type" })
number(8, ROLES, { ["certificate.role"] = "Role" })
number(8, LSA_KINDS, { ["lsa.kind"] = "Kind" })
number(8, PROOFS, { ["lsa.proof"] = "Proof" })
number(8, ANNOUNCEMENTS, { ["announcement.kind"] = "Kind" })
number(8, DATA_KINDS, { ["data.kind"] = "Kind" })
number(8, ACTIONS, { ["policy.action"] = "Action" })
number(8, REFUSAL_REASONS, { ["outcome.reason"] = "Reason", ["data.reason"] = "Reason", ["nack.reason"] = "Reason" })
number(8, DROP_REASONS, { drop = "Dropped as", ["qos_ack.reason"] = "Reason" })
number(16, "dec", { length = "Length", ahead = "Ahead", ["tlv.length"] = "TLV length", ["summary.page"] = "Page",
    ["lsa.fragment"] = "Fragment", ["lsa.count"] = "Links", ["lsa.weight"] = "Weight",
    ["announcement.weight"] = "Weight", ["probe.train_index"] = "Train index",
    ["probe.train_length"] = "Train length" })
number(32, "dec", { flow = "Flow", label = "Label", ["echo.sequence"] = "Sequence", ["lsa.cost"] = "Cost",
    ["lsa.metric"] = "Metric", ["path.label"] = "Label", ["policy.label"] = "Label", ["qos_ack.label"] = "Label",
    ["probe.sequence"] = "Sequence" })
number(32, "hex", { ["summary.exchange"] = "Exchange", checksum = "Checksum" })
number(32, "ms", { ["hello.hello_interval"] = "Hello interval", ["hello.dead_interval"] = "Dead interval",
    ["hello.echo_interval"] = "Echo interval", ["lsa.remaining"] = "Remaining", ["lsa.lifetime"] = "Lifetime",
    ["data.deadline"] = "Deadline", ["path.age"] = "Age", ["policy.expires_in"] = "Expires in" })
number(32, "ppm", { ["path.loss"] = "Loss", ["path.self_load"] = "Self load", ["link.loss"] = "Loss",
    ["task.load"] = "Load" })
number(64, "dec", { ["announce.request"] = "Request", ["announce_reply.request"] = "Request",
    ["lsa.sequence"] = "Sequence", ["auth.request"] = "Request", ["grant.serial"] = "Serial",
    ["revoke.serial"] = "Serial", ["telemetry.sequence"] = "Sequence", ["policy.version"] = "Version",
    ["qos_ack.sequence"] = "Sequence", ["task.served"] = "Served", ["path_query.request"] = "Request",
    ["path_reply.request"] = "Request", ["path_reply.cost"] = "Cost", ["mac.counter"] = "Counter" })
number(64, "hex", { ["hello.session"] = "Session", ["hello.heard_session"] = "Heard session",
    ["announce.sg_session"] = "SG session", ["lsa.digest"] = "Digest", call = "Call", ["probe.test"] = "Test",
    task = "Task" })
number(64, "ms", { ["grant.issued_at"] = "Issued at", ["grant.expires_at"] = "Expires at",
    ["attachment.issued_at"] = "Issued at", ["attachment.expires_at"] = "Expires at" })
number(64, "ns", { ["echo.sent_at"] = "Sent at", ["echo.their_sent_at"] = "Their sent at", ["echo.held"] = "Held",
    ["path.delay"] = "Delay", ["path.jitter"] = "Jitter", ["link.delay"] = "Delay", ["link.jitter"] = "Jitter",
    ["probe.t1"] = "T1", ["probe.t2"] = "T2", ["probe.t3"] = "T3", ["task.self_test"] = "Self-test" })
number(64, "bps", { ["path.bandwidth"] = "Bandwidth", ["link.bandwidth"] = "Bandwidth", ["link.sent"] = "Sent",
    ["link.received"] = "Received" })
plain("string", { name = "Name", node = "Node", destination = "Destination", source = "Source",
    ["hello.heard"] = "Heard", ["certificate.domain"] = "Domain", ["certificate.node"] = "Node",
    ["certificate.name"] = "Name", ["announce.pod"] = "Pod", ["announce.sg"] = "SG",
    ["announcement.prefix"] = "Prefix", ["announcement.pool"] = "Pool", ["outcome.prefix"] = "Prefix",
    ["lsa.origin"] = "Origin", ["lsa.prefix"] = "Prefix", ["lsa.port"] = "Port", ["lsa.neighbour"] = "Neighbour",
    ["lsa.instance"] = "Instance", ["grant.prefix"] = "Prefix", ["grant.pod"] = "Pod", ["grant.sg"] = "SG",
    ["attachment.router"] = "Router",
    ["revoke.pod"] = "Pod", ["revoke.prefix"] = "Prefix", ["data.method"] = "Method", ["hop.node"] = "Node",
    ["path.target"] = "Target", ["link.neighbour"] = "Neighbour", ["policy.recipient"] = "Recipient",
    ["policy.source"] = "Source", ["policy.prefix"] = "Prefix", ["policy.next_hop"] = "Next hop",
    ["nack.node"] = "By", ["nack.destination"] = "Destination", ["path_query.target"] = "Target" })
plain("bytes", { ["certificate.signing_key"] = "Signing key", ["certificate.agreement_key"] = "Agreement key",
    ["certificate.signature"] = "Certificate signature", ["lsa.signature"] = "LSA signature",
    ["grant.pod_key"] = "Pod key", ["grant.signature"] = "Grant signature",
    ["attachment.signature"] = "Attachment signature", link_mac = "Link MAC", signature = "Signature", mac = "MAC",
    payload = "Payload", padding = "Padding", ["nack.body"] = "Quoted body", ["trace.id"] = "Trace",
    ["trace.parent"] = "Parent span" })
plain("none", { tlv = "TLV", certificate = "Certificate", lsa = "LSA", grant = "Grant", attachment = "Attachment", ["lsa.link"] = "Link" })
flag(0x01, { ["flags.trace"] = "Trace", ["certificate.name_exact"] = "Exact", ["lsa.overload"] = "Overload",
    ["lsa.purge"] = "Purge", ["lsa.exact"] = "Exact", ["summary.last"] = "Last page", ["grant.exact"] = "Exact",
    ["hop.on_return"] = "On return", ["task.healthy"] = "Healthy" })
flag(0x02, { ["flags.uphill"] = "Uphill", ["lsa.stub"] = "Stub", ["lsa.has_instance"] = "Instance present" })
flag(0x10, { ["path.available"] = "Available" })
F["request_in"] = ProtoField.framenum("damc.request_in", "Request in", base.NONE, frametype.REQUEST)
F["response_in"] = ProtoField.framenum("damc.response_in", "Answer in", base.NONE, frametype.RESPONSE)
F["response_time"] = ProtoField.relative_time("damc.response_time", "Time since the request")

local all = {}
for _, field in pairs(F) do all[#all + 1] = field end
damc.fields = all


-- Read for the number of the interface, so that a request and its answer are joined where both passed.
local interface_field = Field.new("frame.interface_id")

local experts = {}
for _, code in ipairs({ 1, 2, 3, 4, 5, 6, 7, 14, 38 }) do
    local label = DROP_REASONS[code]
    experts[label] = ProtoExpert.new("damc.expert." .. label:gsub("-", "_"), "Every receiver drops this: " .. label,
        expert.group.MALFORMED, expert.severity.ERROR)
end
experts.cut = ProtoExpert.new("damc.expert.cut", "The capture holds a part of this frame only",
    expert.group.UNDECODED, expert.severity.WARN)
local all_experts = {}
for _, one in pairs(experts) do all_experts[#all_experts + 1] = one end
damc.experts = all_experts

-- ===== Bytes =====

-- Ends the dissection of a frame with a drop reason; caught in damc.dissector.
local function fail(reason, text, ...)
    error({ reason = reason, text = string.format(text, ...) }, 0)
end
local function check(holds, text, ...)
    if not holds then fail("malformed", text, ...) end
end

local Reader = {}
Reader.__index = Reader

-- Reads the bytes from `at` up to `to`; every read adds an item to `tree`.
local function reader(tvb, at, to, tree)
    return setmetatable({ tvb = tvb, at = at, to = to, tree = tree }, Reader)
end

function Reader:take(length, what)
    if self.to - self.at < length then
        fail("truncated", "%s needs %d bytes, %d are left", what, length, self.to - self.at)
    end
    self.at = self.at + length
    return self.tvb(self.at - length, length)
end

-- The same reader with its items in a tree of their own.
function Reader:under(abbreviation)
    return reader(self.tvb, self.at, self.to, self.tree:add(F[abbreviation], self.tvb(self.at, self.to - self.at)))
end

function Reader:uint(abbreviation, length)
    local range = self:take(length, abbreviation)
    self.tree:add(F[abbreviation], range)
    return range:uint()
end

function Reader:uint64(abbreviation)
    local range = self:take(8, abbreviation)
    self.tree:add(F[abbreviation], range)
    return range:uint64()
end

function Reader:nonzero64(abbreviation)
    local value = self:uint64(abbreviation)
    check(value ~= UInt64(0), "%s is 0", abbreviation)
    return value
end

function Reader:bytes(abbreviation, length)
    local range = self:take(length, abbreviation)
    if length > 0 then self.tree:add(F[abbreviation], range) end
    return length > 0 and range:raw() or ""
end

function Reader:rest(abbreviation)
    return self:bytes(abbreviation, self.to - self.at)
end

-- A byte that is a code of a registry.
function Reader:code(abbreviation, registry)
    local code = self:uint(abbreviation, 1)
    check(registry[code], "%s has the unassigned code %d", abbreviation, code)
    return registry[code]
end

-- A byte of flags: the set of those that are on. `known` names a bit by its mask; an empty name is shown elsewhere.
function Reader:flags(what, known)
    local range = self:take(1, what)
    local value, on = range:uint(), {}
    for mask, abbreviation in pairs(known) do
        on[mask] = math.floor(range:uint() / mask) % 2 == 1
        if on[mask] then value = value - mask end
        if abbreviation ~= "" then self.tree:add(F[abbreviation], range) end
    end
    check(value == 0, "%s has bits that mean nothing: 0x%02x", what, value)
    return on
end

local function check_component(bytes)
    if bytes:find("[^A-Za-z0-9._~-]") then fail("bad-name", "a component has another byte than A-Z a-z 0-9 . _ ~ -") end
    if bytes == "." or bytes == ".." then fail("bad-name", "%q is no component", bytes) end
end

-- The text form of a name's wire form.
local function name_of(wire)
    local text, at, count = "", 1, 0
    while at <= #wire do
        local length = wire:byte(at)
        count = count + 1
        if count > 32 then fail("bad-name", "more than 32 components") end
        if length == 0 or length > 64 then fail("bad-name", "a component of %d bytes", length) end
        if at + length > #wire then fail("bad-name", "a component points past the end of the name") end
        local component = wire:sub(at + 1, at + length)
        check_component(component)
        text, at = text .. "/" .. component, at + 1 + length
    end
    if text == "" then fail("bad-name", "a name without components") end
    return text
end

function Reader:add_name(abbreviation, range, wire)
    local text = name_of(wire)
    self.tree:add(F[abbreviation], range, text)
    self.tree:add(F.name, range, text):set_hidden()
    return text
end

function Reader:name(abbreviation)
    local from = self.at
    local length = self:take(1, abbreviation):uint()
    local range = self:take(length, abbreviation)
    return self:add_name(abbreviation, self.tvb(from, 1 + length), length > 0 and range:raw() or "")
end

function Reader:node(abbreviation)
    local from = self.at
    local length = self:take(1, abbreviation):uint()
    local range = self:take(length, abbreviation)
    check(length >= 1 and length <= 32, "a node identity of %d bytes", length)
    local text = range:raw()
    check(not text:find("[^a-z0-9._-]"), "a node identity has another byte than a-z 0-9 . _ -")
    self.tree:add(F[abbreviation], self.tvb(from, 1 + length), text)
    self.tree:add(F.node, self.tvb(from, 1 + length), text):set_hidden()
    return text
end

function Reader:finish(what)
    if self.at < self.to then fail("oversized", "%d bytes are left over behind %s", self.to - self.at, what) end
end

-- Bytes of a sequence of UTF-8 that `text` has at `at`; nil where it has none (RFC 3629, section 4).
local function sequence_at(text, at)
    for _, pattern in ipairs({ "^[\0-\127]", "^[\194-\223][\128-\191]", "^\224[\160-\191][\128-\191]",
        "^[\225-\236\238\239][\128-\191][\128-\191]", "^\237[\128-\159][\128-\191]",
        "^\240[\144-\191][\128-\191][\128-\191]", "^[\241-\243][\128-\191][\128-\191][\128-\191]",
        "^\244[\128-\143][\128-\191][\128-\191]" }) do
        local _, last = text:find(pattern, at)
        if last then return last - at + 1 end
    end
end

local function is_utf8(text)
    local at = 1
    while at <= #text do
        local length = sequence_at(text, at)
        if not length then return false end
        at = at + length
    end
    return true
end

-- ===== TLVs =====

local Tlvs = {}
Tlvs.__index = Tlvs

local function tlvs(tvb, at, to, tree)
    return setmetatable({ tvb = tvb, at = at, to = to, tree = tree }, Tlvs)
end

function Tlvs:value()
    local head = reader(self.tvb, self.at, self.to, self.tree)
    local code = head:take(1, "TLV type"):uint()
    local length = head:take(2, "TLV length"):uint()
    head:take(length, "TLV value")
    local item = self.tree:add(F.tlv, self.tvb(self.at, 3 + length))
    item:set_text(string.format("TLV %s, %d bytes", TLV_TYPES[code] or string.format("0x%02x, skipped", code), length))
    item:add(F["tlv.type"], self.tvb(self.at, 1))
    item:add(F["tlv.length"], self.tvb(self.at + 1, 2))
    self.at = head.at
    return reader(self.tvb, head.at - length, head.at, item)
end

-- The label of the next TLV of known type. Unknown ones before it are skipped, or refused if critical.
function Tlvs:peek()
    while self.at < self.to do
        local code = self.tvb(self.at, 1):uint()
        if TLV_TYPES[code] then return TLV_TYPES[code] end
        if code >= 0x80 then fail("unknown-critical-tlv", "unknown critical TLV 0x%02x", code) end
        self:value()
    end
end

function Tlvs:next_if(label)
    if self:peek() == label then return self:value() end
end

function Tlvs:require(label)
    local value = self:next_if(label)
    check(value, "TLV %s is missing", label)
    return value
end

-- The value that fills the next TLV, read by `read`.
function Tlvs:whole(label, read)
    local value = self:require(label)
    local result = read(value)
    value:finish(label)
    return result
end

-- What `read` returns for all TLVs of that type that come next.
function Tlvs:items(label, read)
    local results = {}
    while self:peek() == label do results[#results + 1] = self:whole(label, read) end
    return results
end

function Tlvs:some_items(label, read)
    local results = self:items(label, read)
    check(#results > 0, "TLV %s is missing", label)
    return results
end

function Tlvs:signature()
    self:whole("signature", function(r) r:bytes("signature", 64) end)
end


-- ===== Certificates, grants, LSAs (WIRE.md sections 4 and 6) =====

local function list(open, items)
    return #items > 0 and open .. table.concat(items, ", ") .. "]" or ""
end

local function certificate(outer)
    local r = outer:under("certificate")
    local domain, node = r:node("certificate.domain"), r:node("certificate.node")
    local role = r:code("certificate.role", ROLES)
    r:bytes("certificate.signing_key", 32)
    r:bytes("certificate.agreement_key", 32)
    if role == "spa" then
        local total = 0
        for _ = 1, r:uint("certificate.names", 1) do
            local from = r.at
            r:flags("flags of a certified name", { [0x01] = "certificate.name_exact" })
            r:name("certificate.name")
            total = total + r.at - from
        end
        check(total <= MAX_NAMES_LEN, "%d bytes of names in a certificate", total)
    end
    r:bytes("certificate.signature", 64)
    r.tree:set_text(string.format("Certificate of %s, %s of %s", node, role, domain))
    r.tree:set_len(r.at - outer.at)
    outer.at = r.at
    return { node = node, role = role, domain = domain }
end

local function grant(outer)
    local r = outer:under("grant")
    local exact = r:flags("flags of a grant", { [0x01] = "grant.exact" })[0x01]
    r:uint("grant.depth", 1)
    local prefix, pod = r:name("grant.prefix"), r:node("grant.pod")
    r:bytes("grant.pod_key", 32)
    local sg = r:node("grant.sg")
    r:uint64("grant.issued_at")
    r:uint64("grant.expires_at")
    local serial = r:uint64("grant.serial")
    local spa = certificate(r).node
    r:bytes("grant.signature", 64)
    local text = string.format("grant of %s%s to %s at %s by %s serial %s", prefix, exact and " exactly" or "", pod, sg,
        spa, tostring(serial))
    r.tree:set_text("Grant" .. text:sub(6))
    r.tree:set_len(r.at - outer.at)
    outer.at = r.at
    return text, spa
end

local function attachment(outer)
    local r = outer:under("attachment")
    local router = r:node("attachment.router")
    r:uint64("attachment.issued_at")
    local expires = r:uint64("attachment.expires_at")
    local scsc = certificate(r).node
    r:bytes("attachment.signature", 64)
    local text = string.format("%s at %s until %s", scsc, router, tostring(expires))
    r.tree:set_text("Attachment of " .. text)
    r.tree:set_len(r.at - outer.at)
    outer.at = r.at
    return text, scsc
end

local function lsa_key(r)
    local kind = r:code("lsa.kind", LSA_KINDS)
    local origin = r:node("lsa.origin")
    if kind == "topology" then return kind, string.format("%s topology/%d", origin, r:uint("lsa.fragment", 2)) end
    local prefix = r:name("lsa.prefix")
    return kind, string.format("%s %s at %s", origin, prefix, r:node("lsa.port"))
end

local function lsa_header(outer)
    local r = outer:under("lsa")
    local _, key = lsa_key(r)
    local text = key .. " seq " .. tostring(r:uint64("lsa.sequence"))
    r:uint64("lsa.digest")
    r:uint("lsa.remaining", 4)
    r.tree:set_text("LSA header " .. text)
    outer.at = r.at
    return text
end

local function topology_content(r)
    local on = r:flags("flags of a topology LSA", { [0x01] = "lsa.overload", [0x02] = "lsa.stub" })
    local links = {}
    for _ = 1, r:uint("lsa.count", 2) do
        local neighbour = r:node("lsa.neighbour")
        local cost = r:uint("lsa.cost", 4)
        check(cost >= 1 and cost <= MAX_COST, "a link cost of %d", cost)
        links[#links + 1] = string.format("%s=%d", neighbour, cost)
    end
    return list(" [", links) .. (on[0x02] and " stub" or "") .. (on[0x01] and " overload" or "")
end

local function prefix_content(r)
    local on = r:flags("flags of a prefix LSA", { [0x01] = "lsa.exact", [0x02] = "lsa.has_instance" })
    local text = string.format(" metric %d", r:uint("lsa.metric", 4))
    r:uint("lsa.weight", 2)
    if on[0x02] then text = text .. " instance " .. r:name("lsa.instance") end
    if r:code("lsa.proof", PROOFS) == "attached" then
        local _, scsc = attachment(r)
        return text .. " attached " .. scsc
    end
    local _, spa = grant(r)
    return text .. " granted by " .. spa
end

local function lsa(outer)
    local r = outer:under("lsa")
    local remaining = r:uint("lsa.remaining", 4)
    local kind, key = lsa_key(r)
    local text = key .. " seq " .. tostring(r:nonzero64("lsa.sequence"))
    local lifetime = r:uint("lsa.lifetime", 4)
    check(remaining <= lifetime, "%d ms remain of a lifetime of %d", remaining, lifetime)
    local content = r:take(1, "content")
    check(content:uint() <= 1, "an LSA content of %d", content:uint())
    r.tree:add(F["lsa.purge"], content, content:uint() == 0)
    if content:uint() == 0 then
        text = text .. " purge"
    else
        text = text .. (kind == "topology" and topology_content or prefix_content)(r)
    end
    certificate(r)
    r:bytes("lsa.signature", 64)
    r.tree:set_text("LSA " .. text)
    outer.at = r.at
    return text
end

-- ===== Messages: each reads the TLVs of its type and returns its part of the info column (WIRE.md section 6) =====

local M = {}

function M.hello(t)
    local body = t:whole("body", function(r)
        local text = string.format(" session %s", r:nonzero64("hello.session"):tohex())
        r:uint("hello.hello_interval", 4)
        r:uint("hello.dead_interval", 4)
        r:uint("hello.echo_interval", 4)
        r:uint("hello.echo_multiplier", 1)
        if r.at < r.to and r.tvb(r.at, 1):uint() == 0 then
            r:take(1, "heard")
            return text .. " hears nobody"
        end
        local heard = r:node("hello.heard")
        return string.format("%s hears %s session %s", text, heard, r:nonzero64("hello.heard_session"):tohex())
    end)
    local from = t:whole("certificate", certificate)
    t:signature()
    return string.format("%s (%s) of %s%s", from.node, from.role, from.domain, body)
end

function M.echo(t)
    return t:whole("body", function(r)
        local sequence = r:uint("echo.sequence", 4)
        for _, one in ipairs({ "sent_at", "their_sent_at", "held" }) do r:uint64("echo." .. one) end
        return string.format("seq %d", sequence)
    end)
end

local function announce_fields(r)
    local request = r:nonzero64("announce.request")
    local pod, sg = r:node("announce.pod"), r:node("announce.sg")
    r:uint64("announce.sg_session")
    return string.format("%s to %s request %s", pod, sg, tostring(request))
end

local function announcements(t)
    local withdrawn = false
    return table.concat(t:items("announcement", function(r)
        local kind = r:uint("announcement.kind", 1)
        if kind == 0 then
            withdrawn = true
            return " -" .. r:name("announcement.prefix")
        end
        check(not withdrawn, "an addition behind a withdrawal")
        check(ANNOUNCEMENTS[kind], "an announcement of kind %d", kind)
        local text = " +" .. r:name("announcement.prefix")
        local weight = r:uint("announcement.weight", 2)
        if kind == 1 then return text end
        return string.format("%s in %s weight %d", text, r:name("announcement.pool"), weight)
    end))
end

function M.announce(t)
    local text = t:whole("body", announce_fields) .. announcements(t)
    t:signature()
    return text
end

local function outcome(r)
    local reason = r:code("outcome.reason", REFUSAL_REASONS)
    return r:name("outcome.prefix") .. " " .. reason, reason
end

M["announce-reply"] = function(t)
    local request = t:whole("body", function(r) return r:uint64("announce_reply.request") end)
    return string.format("request %s%s", tostring(request), list(" [", t:items("outcome", outcome)))
end

M["ls-update"] = function(t) return list("[", t:some_items("lsa", lsa)) end
M.topology = M["ls-update"]
M["ls-ack"] = function(t) return list("[", t:some_items("lsa-header", lsa_header)) end
M["ls-request"], M["topology-ack"] = M["ls-ack"], M["ls-ack"]

M["db-summary"] = function(t)
    local text = t:whole("body", function(r)
        local exchange, page = r:uint("summary.exchange", 4), r:uint("summary.page", 2)
        local last = r:flags("last", { [0x01] = "summary.last" })[0x01]
        return string.format("exchange %08x page %d%s", exchange, page, last and " (last)" or "")
    end)
    return text .. list(" [", t:items("lsa-header", lsa_header))
end

M["auth-request"] = function(t)
    local request, pod = nil, nil
    t:whole("body", function(r) request, pod = r:uint64("auth.request"), announce_fields(r) end)
    local names = announcements(t)
    local certified = t:whole("certificate", certificate).node
    t:signature()
    return string.format("request %s of %s: %s%s", tostring(request), certified, pod, names)
end

M["auth-reply"] = function(t)
    local text = string.format("request %s ",
        tostring(t:whole("body", function(r) return r:uint64("auth.request") end)))
    if t:peek() == "grant" then return text .. t:whole("grant", grant) end
    return text .. t:whole("outcome", function(r)
        local refused, reason = outcome(r)
        r:finish("outcome")
        check(reason ~= "accepted", "a refusal without a reason")
        return refused
    end)
end

function M.revoke(t)
    return t:whole("body", function(r)
        local serial, pod = r:uint64("revoke.serial"), r:node("revoke.pod")
        return string.format("%s of %s up to serial %s", r:name("revoke.prefix"), pod, tostring(serial))
    end)
end

M["revoke-ack"] = function(t)
    return "serial " .. tostring(t:whole("body", function(r) return r:uint64("revoke.serial") end))
end

function M.attach(t)
    return t:whole("attachment", function(r)
        local text = attachment(r)
        return text
    end)
end

M["attach-ack"] = function(t)
    return "issued at " .. tostring(t:whole("body", function(r) return r:uint64("attachment.issued_at") end))
end

local function hop(r)
    local returning = r:flags("flags of a hop", { [0x01] = "hop.on_return" })[0x01]
    return (returning and "<" or "") .. r:node("hop.node"), returning
end

-- The hops behind the checksum of a data message.
local function data_hops(t)
    local hops = t:items("hop", hop)
    return #hops > 0 and ", via " .. table.concat(hops, " ") or ""
end

local function hex(bytes)
    return (bytes:gsub(".", function(byte) return string.format("%02x", byte:byte()) end))
end

function M.data(t, exchange)
    local deadline, trace = "", ""
    local text = t:whole("body", function(r)
        local code, call = r:uint("data.kind", 1), r:uint64("call")
        local kind = DATA_KINDS[code]
        check(kind, "a data kind of %d", code)
        exchange.kind, exchange.id, exchange.asks = "call", call, kind == "request"
        local head = string.format("%s %s", kind, call:tohex())
        if kind == "error" then
            local reason = r:code("data.reason", REFUSAL_REASONS)
            check(reason ~= "accepted", "an error without a reason")
            return head .. " " .. reason
        elseif kind == "request" then
            deadline = string.format(", deadline %d ms", r:uint("data.deadline", 4))
            local length = r.to - r.at
            check(length >= 1 and length <= 64, "a method of %d bytes", length)
            check(is_utf8(r.tvb(r.at, length):raw()), "a method that is no UTF-8")
            return head .. " " .. r:rest("data.method")
        end
        return head
    end)
    local payload = t:whole("payload", function(r) return #r:rest("payload") end)
    if exchange.asks and t:peek() == "trace-context" then
        t:whole("trace-context", function(r)
            local id, parent = r:bytes("trace.id", 16), r:bytes("trace.parent", 8)
            check(id:find("[^\0]") and parent:find("[^\0]"), "a trace context with a number that is 0")
            trace = string.format(", trace 00-%s-%s-%02x", hex(id), hex(parent), r:uint("trace.flags", 1))
        end)
    end
    return string.format("%s, %d bytes%s%s", text, payload, deadline, trace)
end

local METRICS = { { 0x01, "delay", "delay-ns" }, { 0x02, "jitter", "jitter-ns" }, { 0x04, "bandwidth", "bps" } }

local function metrics(r, on, of)
    local text = ""
    for _, metric in ipairs(METRICS) do
        if on[metric[1]] then
            text = string.format("%s %s %s", text, metric[3], tostring(r:uint64(of .. "." .. metric[2])))
        end
    end
    return text
end

local function path_report(r)
    local on = r:flags("flags of a path report",
        { [0x01] = "", [0x02] = "", [0x04] = "", [0x08] = "", [0x10] = "path.available" })
    local target, label = r:name("path.target"), r:uint("path.label", 4)
    local loss = r:uint("path.loss", 4)
    r:uint("path.age", 4)
    local text = target .. (label ~= 0 and string.format(" label %d", label) or "") .. metrics(r, on, "path")
    if on[0x08] then r:uint("path.self_load", 4) end
    return string.format("%s loss-ppm %d%s", text, loss, on[0x10] and "" or " unavailable")
end

local function link_report(r)
    local on = r:flags("flags of a link report", { [0x01] = "", [0x02] = "", [0x04] = "" })
    local neighbour, loss = r:node("link.neighbour"), r:uint("link.loss", 4)
    r:uint64("link.sent")
    r:uint64("link.received")
    return string.format("%s%s loss-ppm %d", neighbour, metrics(r, on, "link"), loss)
end

-- A message of class 4 ends with the certificate and the signature of its sender.
local function signed(read)
    return function(t, exchange)
        local text = read(t, exchange)
        t:whole("certificate", certificate)
        t:signature()
        return text
    end
end

M.telemetry = signed(function(t)
    local sequence = t:whole("body", function(r) return r:uint64("telemetry.sequence") end)
    local paths = list(" [", t:items("path-report", path_report))
    return string.format("report %s%s%s", tostring(sequence), paths, list(" [", t:items("link-report", link_report)))
end)

M.policy = signed(function(t)
    return t:whole("body", function(r)
        local label = r:uint("policy.label", 4)
        check(label ~= 0, "a policy with label 0")
        local version = r:uint64("policy.version")
        r:uint("policy.expires_in", 4)
        local recipient, source = r:node("policy.recipient"), r:node("policy.source")
        local text = string.format("%s of %s for %s label %d version %s ", r:name("policy.prefix"), source, recipient,
            label, tostring(version))
        local action = r:code("policy.action", ACTIONS)
        local steers = action == "ingress" or action == "transit"
        return text .. action .. (steers and " to " .. r:node("policy.next_hop") or "")
    end)
end)

M["qos-ack"] = signed(function(t)
    return t:whole("body", function(r)
        local sequence, label = r:uint64("qos_ack.sequence"), r:uint("qos_ack.label", 4)
        return string.format("%s label %d %s", tostring(sequence), label, r:code("qos_ack.reason", DROP_REASONS))
    end)
end)

local function probe(asks)
    return function(t, exchange)
        local text = t:whole("body", function(r)
            local test, sequence = r:uint64("probe.test"), r:uint("probe.sequence", 4)
            local index, length = r:uint("probe.train_index", 2), r:uint("probe.train_length", 2)
            check(index < length, "packet %d of a train of %d", index, length)
            for _, one in ipairs({ "t1", "t2", "t3" }) do r:uint64("probe." .. one) end
            local text = string.format("%s seq %d", test:tohex(), sequence)
            exchange.kind, exchange.id, exchange.asks = "probe", text, asks
            return text .. (length > 1 and string.format(" train %d/%d", index + 1, length) or "")
        end)
        if t:peek() == "padding" then
            t:whole("padding", function(r)
                local zeros = r:rest("padding")
                check(#zeros > 0 and not zeros:find("[^\0]"), "padding that is empty or not all 0")
            end)
        end
        return text
    end
end
M.probe, M["probe-reply"] = probe(true), probe(false)

function M.task(t, exchange)
    local task = t:whole("body", function(r) return r:uint64("task") end)
    exchange.kind, exchange.id, exchange.asks = "task", task, true
    return task:tohex()
end

M["task-report"] = function(t, exchange)
    return t:whole("body", function(r)
        local task = r:uint64("task")
        local healthy = r:flags("health", { [0x01] = "task.healthy" })[0x01] and "healthy" or "unhealthy"
        local load, served = r:uint("task.load", 4), r:uint64("task.served")
        r:uint64("task.self_test")
        exchange.kind, exchange.id, exchange.asks = "task", task, false
        return string.format("%s %s, load %d ppm, %s served", task:tohex(), healthy, load, tostring(served))
    end)
end

function M.nack(t, exchange)
    return t:whole("body", function(r)
        local reason = r:code("nack.reason", REFUSAL_REASONS)
        check(reason ~= "accepted", "a negative reply without a reason")
        local code = r:uint("nack.answered", 1)
        check(code >= 0x80 and MESSAGE_TYPES[code], "a negative reply about type 0x%02x", code)
        local by, destination = r:node("nack.node"), r:name("nack.destination")
        local quoted, at = r.to - r.at, r.at
        check(quoted <= MAX_BODY, "a quotation of %d bytes", quoted)
        r:rest("nack.body")
        if MESSAGE_TYPES[code] == "data" and quoted >= 9 and r.tvb(at, 1):uint() == 1 then
            r.tree:add(F.call, r.tvb(at + 1, 8))
            exchange.kind, exchange.id, exchange.asks = "call", r.tvb(at + 1, 8):uint64(), false
        end
        return string.format("%s by %s: %s to %s", reason, by, MESSAGE_TYPES[code], destination)
    end)
end

M["path-query"] = signed(function(t)
    return t:whole("body", function(r)
        local request = r:uint64("path_query.request")
        return string.format("%s to %s", tostring(request), r:name("path_query.target"))
    end)
end)

M["path-reply"] = signed(function(t)
    local text = t:whole("body", function(r)
        local request, cost = r:uint64("path_reply.request"), r:uint64("path_reply.cost")
        return string.format("%s cost %s", tostring(request), tostring(cost))
    end)
    return text .. list(" [", t:items("hop", function(r)
        local node, returning = hop(r)
        r:finish("hop")
        check(not returning, "a hop of a computed path on its return")
        return node
    end))
end)

local ipv6 = Dissector.get("ipv6")

function M.packet(t, exchange)
    return t:whole("payload", function(r)
        exchange.inner = r.to > r.at and r.tvb(r.at, r.to - r.at) or nil
        r:rest("payload")
        return ""
    end)
end


-- ===== Requests and answers =====

-- What was asked, by kind, identifier and interface: its frame and time, and the frame of the answer.
local exchanges = {}

function damc.init()
    exchanges = {}
end

local function remember(key, asks, pinfo)
    local known = exchanges[key]
    if asks then
        -- A frame that a port both takes and sends on is seen twice there; the first is the request.
        if not known then exchanges[key] = { request = pinfo.number, at = pinfo.rel_ts } end
    elseif known and not known.answer then
        known.answer, known.answered_at = pinfo.number, pinfo.rel_ts
    end
    return exchanges[key]
end

local function link_exchange(exchange, pinfo, root)
    if not exchange.kind then return end
    local interface = interface_field()
    local key = string.format("%s %s @%s", exchange.kind, tostring(exchange.id), interface and interface.value or "")
    local known = pinfo.visited and exchanges[key] or remember(key, exchange.asks, pinfo)
    if not known then return end
    if pinfo.number == known.request and known.answer then
        root:add(F.response_in, known.answer):set_generated()
    elseif pinfo.number == known.answer then
        root:add(F.request_in, known.request):set_generated()
        local seconds = math.floor(known.answered_at - known.at)
        local rest = math.floor((known.answered_at - known.at - seconds) * 1e9 + 0.5)
        root:add(F.response_time, NSTime.new(seconds, rest)):set_generated()
    end
end

-- ===== The PDU (WIRE.md section 1) =====

-- LuaBitOp before Lua 5.3, operators of the language since.
local xor, shift, mask
if bit or bit32 then
    local operations = bit or bit32
    xor, shift, mask = operations.bxor, operations.rshift, operations.band
else
    xor, shift, mask = load([[return function(a, b) return a ~ b end, function(a, n) return a >> n end,
        function(a, b) return a & b end]])()
end

local CRC_TABLE = {}
for byte = 0, 255 do
    local value = byte
    for _ = 1, 8 do
        local low = value % 2 == 1
        value = shift(value, 1)
        if low then value = xor(value, 0x82f63b78) end
    end
    CRC_TABLE[byte] = value
end

-- CRC-32C (Castagnoli) of a string of bytes.
local function crc32c(bytes)
    local crc = 0xffffffff
    for at = 1, #bytes do crc = xor(shift(crc, 8), CRC_TABLE[mask(xor(crc, bytes:byte(at)), 0xff)]) end
    return xor(crc, 0xffffffff) % 4294967296
end

-- What is wrong with a PDU that has no whole header.
local function cut_short(tvb)
    if tvb:len() > 0 and tvb(0, 1):uint() ~= VERSION then
        fail("bad-version", "version %d", tvb(0, 1):uint())
    end
    fail("truncated", "a header of %d bytes, not %d", tvb:len(), HEADER_LEN)
end

local function header(tvb, size, root)
    if size < HEADER_LEN then cut_short(tvb) end
    local r = reader(tvb, 0, HEADER_LEN, root)
    local version, code = r:uint("version", 1), r:uint("type", 1)
    if CLASSES[class_of(code)] then root:add(F.class, tvb(1, 1), class_of(code)):set_generated() end
    root:add(F.flags, r:take(1, "flags"))
    root:add(F["flags.trace"], tvb(2, 1))
    root:add(F["flags.uphill"], tvb(2, 1))
    local hop_limit, length = r:uint("hop_limit", 1), r:uint("length", 2)
    r:uint("ahead", 2)
    local flow, label = r:uint("flow", 4), r:uint("label", 4)
    if version ~= VERSION then fail("bad-version", "version %d", version) end
    check(length >= HEADER_LEN, "a length of %d", length)
    if length > MAX_PDU then fail("oversized", "a length of %d", length) end
    if size > length then fail("oversized", "%d bytes behind the length", size - length) end
    if size < length then fail("truncated", "a length of %d in a PDU of %d bytes", length, size) end
    if not MESSAGE_TYPES[code] then fail("unknown-type", "message type 0x%02x is not assigned", code) end
    check(code >= 0x80 or (hop_limit == 1 and flow == 0 and label == 0), "routing fields in a hop-local message")
    return { type = MESSAGE_TYPES[code], routed = code >= 0x80, hop_limit = hop_limit, flow = flow, label = label,
        flags = tvb(2, 1):uint() }
end

local function routed_name(t, label)
    return t:whole(label, function(r)
        local length = r.to - r.at
        local range = r:take(length, label)
        return r:add_name(label, range, length > 0 and range:raw() or "")
    end)
end

local function describe_route(head, destination, source)
    return string.format(" %s > %s hops-left %d flow %d%s%s%s:", source, destination, head.hop_limit, head.flow,
        head.label ~= 0 and string.format(" label %d", head.label) or "", head.flags % 2 == 1 and " traced" or "",
        math.floor(head.flags / 2) % 2 == 1 and " uphill" or "")
end

local function check_crc(t)
    t:whole("checksum", function(r)
        local carried, covered = r:uint("checksum", 4), r.at - 7
        r:finish("checksum")
        local ours = crc32c(r.tvb(ROUTED_HEADER_LEN, covered - ROUTED_HEADER_LEN):raw())
        if carried ~= ours then fail("bad-checksum", "the checksum is 0x%08x, the bytes have 0x%08x", carried, ours) end
    end)
end

local function hop_mac(t, size)
    if t:peek() ~= "hop-mac" then
        t:finish()
        if size > MAX_PDU - HOP_MAC_LEN then fail("oversized", "no room for a HopMac") end
        fail("missing-mac", "TLV hop-mac is missing")
    end
    return t:whole("hop-mac", function(r)
        local counter = r:uint64("mac.counter")
        r:bytes("mac", 16)
        return " · mac #" .. tostring(counter)
    end)
end

function Tlvs:finish()
    local left = self:peek()
    check(not left, "TLV %s is not allowed here", left)
end

-- Dissects all TLVs; calls `say` with each part of the info column as it is known.
local function dissect(tvb, size, root, exchange, say)
    local head = header(tvb, size, root)
    say(head.type)
    local t = tlvs(tvb, head.routed and ROUTED_HEADER_LEN or HEADER_LEN, size, root)
    if head.routed then
        reader(tvb, HEADER_LEN, size, root):bytes("link_mac", LINK_MAC_LEN)
        local destination = routed_name(t, "destination")
        local source = routed_name(t, "source")
        say(describe_route(head, destination, source))
    end
    local text = M[head.type](t, exchange)
    say(text ~= "" and " " .. text or "")
    if head.routed then check_crc(t) end
    if head.type == "data" then say(data_hops(t)) end
    if not head.routed and head.type ~= "hello" then say(hop_mac(t, size)) end
    t:finish()
end

-- The inner packet of a Packet message by its own dissector, in a tree beside ours.
local function dissect_inner(exchange, pinfo, tree, line)
    ipv6:call(exchange.inner:tvb(), pinfo, tree)
    pinfo.cols.protocol = "DAMC"
    pinfo.cols.info:prepend(line .. " ")
end

-- Bytes of the PDU: without what the minimum frame size added behind it.
local function pdu_size(tvb)
    local size = tvb:len()
    if size ~= MIN_ETHERNET_PAYLOAD then return size end
    return math.min(size, math.max(tvb(4, 2):uint(), HEADER_LEN))
end

function damc.dissector(tvb, pinfo, tree)
    pinfo.cols.protocol = "DAMC"
    if tvb:reported_len() > tvb:len() then
        tree:add(damc, tvb()):add_proto_expert_info(experts.cut)
        return tvb:len()
    end
    local size = pdu_size(tvb)
    local root = tree:add(damc, size > 0 and tvb(0, size) or tvb())
    local exchange, line = {}, ""
    local function say(text) line = line .. text end
    local whole, fault = pcall(dissect, tvb, size, root, exchange, say)
    if not whole then
        -- Anything else is a mistake of this script, which Wireshark shows.
        if type(fault) ~= "table" then error(fault, 0) end
        for code, label in pairs(DROP_REASONS) do
            if label == fault.reason and code > 0 then root:add(F.drop, code):set_generated() end
        end
        root:add_proto_expert_info(experts[fault.reason], fault.text)
        say(string.format("%s[%s: %s]", line == "" and "" or " ", fault.reason, fault.text))
    end
    root:append_text(", " .. line)
    pinfo.cols.info = line
    link_exchange(exchange, pinfo, root)
    if whole and exchange.inner then dissect_inner(exchange, pinfo, tree, line) end
    return tvb:len()
end

DissectorTable.get("ethertype"):add(ETHERTYPE, damc)
