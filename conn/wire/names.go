package wire

// Protocol is the name of this protocol as workers are created with.
const Protocol = "msgpack_experimental_v7"

// MaxFrame is the longest message that either side accepts, in bytes: a line of
// 16 Mi characters of 4 bytes each, and its lists (docs/protocol.md D 3).
const MaxFrame = 80 << 20

// MaxLine is the longest line, in characters, that a worker is asked to keep whole.
const MaxLine = 16 << 20

// What the master asks of a worker, and OpResponse, which both send
// (docs/protocol.md A.4).
const (
	OpPrint             = "print"
	OpKeepalive         = "keepalive"
	OpGetWorkerInfo     = "get_worker_info"
	OpSetWorkerSettings = "set_worker_settings"
	OpStartCommand      = "start_command"
	OpInterruptCommand  = "interrupt_command"
	OpShutdown          = "shutdown"
	OpResponse          = "response"
)

// What the master asks only of our own worker (docs/protocol.md F).
const (
	OpResumeCommand = "resume_command"
	OpAcknowledge   = "acknowledge"
)

// What a worker asks of the master (docs/protocol.md A.5).
const (
	OpUpdate               = "update"
	OpComplete             = "complete"
	OpUploadFileWrite      = "update_upload_file_write"
	OpUploadFileClose      = "update_upload_file_close"
	OpUploadFileUtime      = "update_upload_file_utime"
	OpUploadDirectoryWrite = "update_upload_directory_write"
	OpUploadDirectoryDone  = "update_upload_directory_unpack"
	OpReadFile             = "update_read_file"
	OpReadFileClose        = "update_read_file_close"
	OpLeave                = "leave" // ours: to be told to shut down once no build needs it
)

// Keys of the envelope and of the messages.
const (
	KeyOp           = "op"
	KeySeq          = "seq_number"
	KeyResult       = "result"
	KeyException    = "is_exception"
	KeyCommandID    = "command_id"
	KeyCommandName  = "command_name"
	KeyArgs         = "args"
	KeyWhy          = "why"
	KeyMessage      = "message"
	KeyLength       = "length"
	KeyAccessTime   = "access_time"
	KeyModifiedTime = "modified_time"
	KeyFrom         = "from"
	KeyResume       = "resume"
)

// The commands (docs/protocol.md A.6).
const (
	CmdShell           = "shell"
	CmdUploadFile      = "upload_file"
	CmdUploadDirectory = "upload_directory"
	CmdDownloadFile    = "download_file"
	CmdMkdir           = "mkdir"
	CmdRmdir           = "rmdir"
	CmdCpdir           = "cpdir"
	CmdStat            = "stat"
	CmdGlob            = "glob"
	CmdListdir         = "listdir"
	CmdRmfile          = "rmfile"
)

// The keys of an update's entries (docs/protocol.md A.7).
const (
	Stdout        = "stdout"
	Stderr        = "stderr"
	Header        = "header"
	Log           = "log"
	RC            = "rc"
	Elapsed       = "elapsed"
	Files         = "files"
	StatResult    = "stat"
	FailureReason = "failure_reason"
)

// The keys of set_worker_settings, all mandatory.
const (
	SetBufferSize    = "buffer_size"
	SetBufferTimeout = "buffer_timeout"
	SetMaxLineLength = "max_line_length"
	SetNewlineRE     = "newline_re"
)

// InfoOurs is the key of get_worker_info by which our own worker makes itself
// known; its value is a map of what it can do beyond the stock worker. In
// set_worker_settings it is what the master can (docs/protocol.md A.10).
const InfoOurs = "buildstar"

// OursSilence, in the master's map, is after how many seconds without a byte a worker
// may take the connection for dead; 0 is never.
const OursSilence = "silence"

// OursLeave, in the master's map, says that it knows OpLeave.
const OursLeave = "leave"

// The keys of that map by which a worker says that its commands outlive a connection
// (docs/protocol.md F): the version of that ability, the name of this life of its
// process, and the commands it has, as [id, next update, first update kept, token].
const (
	OursResume  = "resume"
	OursLife    = "life"
	OursRunning = "running"
)

// StockNewlines is the pattern of line ends that a stock master sets: each match
// becomes an LF, so a progress bar's every step is a line.
const StockNewlines = `(\r\n|\r(?=.)|\033\[u|\033\[[0-9]+;[0-9]+[Hf]|\033\[2J|\x08+)`

// NoNewlines is a pattern that never matches: text arrives as it was written, with
// LF as the only line end.
const NoNewlines = `(?!)`

// words are the strings that every message repeats; reading one costs no memory.
var words = func() map[string]string {
	m := map[string]string{}
	for _, w := range []string{
		OpPrint, OpKeepalive, OpGetWorkerInfo, OpSetWorkerSettings, OpStartCommand, OpInterruptCommand, OpShutdown, OpResponse,
		OpResumeCommand, OpAcknowledge,
		OpUpdate, OpComplete, OpUploadFileWrite, OpUploadFileClose, OpUploadFileUtime, OpUploadDirectoryWrite,
		OpUploadDirectoryDone, OpReadFile, OpReadFileClose,
		KeyOp, KeySeq, KeyResult, KeyException, KeyCommandID, KeyCommandName, KeyArgs, KeyWhy, KeyMessage, KeyLength,
		KeyAccessTime, KeyModifiedTime, KeyFrom, KeyResume,
		Stdout, Stderr, Header, Log, RC, Elapsed, Files, StatResult, FailureReason,
	} {
		m[w] = w
	}
	return m
}()

func intern(b []byte) string {
	if w, ok := words[string(b)]; ok {
		return w
	}
	return clean(b)
}
