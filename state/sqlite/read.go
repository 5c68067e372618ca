package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"buildstar/config"
	"buildstar/state"
)

// reader implements state.ReadTx on a connection that is in a transaction.
type reader struct {
	c   *conn
	ctx context.Context // looked at between queries
}

const (
	masterColumns  = "id, name, active, last_active"
	builderColumns = "id, name, description, description_format, project_id, tags, active"
	projectColumns = "id, name, slug, description, description_format, active"
	workerColumns  = "id, name, paused, pause_reason, paused_by, paused_at, graceful, graceful_reason, graceful_by, graceful_at, graceful_life, " +
		"quarantine_since, quarantine_until, quarantine_count, quarantine_cause, quarantine_build, info, connected, changed_at, active"
	schedulerColumns = "id, name, enabled, active, error, error_at, acted_at"
	sourceColumns    = "id, name, error, active"
	stampColumns     = "id, branch, revision, project, repository, codebase, created_at"
	buildsetColumns  = "id, external_id, reason, scheduler, submitted_at, complete, complete_at, results, parent_build_id, parent_step, parent_seq, parent_relationship, rebuilt_build_id, properties"
	requestColumns   = "id, buildset_id, builder_id, priority, claimed, claimed_at, complete, complete_at, results, submitted_at, waited_for, retries, collapsed_to"
	buildColumns     = "id, number, builder_id, request_id, worker_id, started_at, complete_at, complete, locks_duration, state_string, results, generation, stop_reason, epoch, worker_life, locked"
	stepColumns      = "id, build_id, number, name, started_at, locks_acquired_at, complete, complete_at, state_string, results, urls, hidden, position"
	logColumns       = "id, step_id, build_id, name, slug, complete, num_lines, type"
	commandColumns   = "id, build_id, step_id, seq, worker, args_hash, done, rc, failure"
)

func (r reader) Masters(q state.Query) ([]state.Master, error) {
	return list(r, "masters", masterColumns, q, scanMaster)
}

func (r reader) Builders(q state.Query) ([]state.Builder, error) {
	return list(r, "builders", builderColumns, q, scanBuilder)
}

func (r reader) Projects(q state.Query) ([]state.Project, error) {
	return list(r, "projects", projectColumns, q, scanProject)
}

func (r reader) Workers(q state.Query) ([]state.Worker, error) {
	return list(r, "workers", workerColumns, q, scanWorker)
}

func (r reader) Schedulers(q state.Query) ([]state.Scheduler, error) {
	return list(r, "schedulers", schedulerColumns, q, scanScheduler)
}

func (r reader) ChangeSources(q state.Query) ([]state.ChangeSource, error) {
	return list(r, "changesources", sourceColumns, q, scanSource)
}

func (r reader) SourceStamps(q state.Query) ([]state.SourceStamp, error) {
	return list(r, "sourcestamps", stampColumns, q, scanStamp)
}

func (r reader) BuildRequests(q state.Query) ([]state.BuildRequest, error) {
	return list(r, "buildrequests", requestColumns, q, scanRequest)
}

func (r reader) Builds(q state.Query) ([]state.Build, error) {
	if q.Properties {
		return list(r, "builds", buildColumns+", properties", q, scanBuildWithProperties)
	}
	return list(r, "builds", buildColumns, q, scanBuild)
}

func (r reader) Steps(q state.Query) ([]state.Step, error) {
	return list(r, "steps", stepColumns, q, scanStep)
}

func (r reader) Logs(q state.Query) ([]state.Log, error) {
	return list(r, "logs", logColumns, q, scanLog)
}

// Buildsets reads the stamps of all rows with one more query.
func (r reader) Buildsets(q state.Query) ([]state.Buildset, error) {
	sets, err := list(r, "buildsets", buildsetColumns, q, scanBuildset)
	if err != nil || len(sets) == 0 {
		return sets, err
	}
	for at := 0; at < len(sets); at += maxValues {
		if err := r.stampsOf(sets[at:min(at+maxValues, len(sets))]); err != nil {
			return nil, fmt.Errorf("read buildsets: %w", explain(err))
		}
	}
	return sets, nil
}

func (r reader) stampsOf(sets []state.Buildset) error {
	index := make(map[int64]*state.Buildset, len(sets))
	args := make([]any, len(sets))
	for i := range sets {
		index[sets[i].ID] = &sets[i]
		args[i] = sets[i].ID
	}
	rows, err := r.c.query(`SELECT b.buildset_id, s.id, s.branch, s.revision, s.project, s.repository, s.codebase, s.created_at
		FROM buildset_sourcestamps AS b JOIN sourcestamps AS s ON s.id=b.sourcestamp_id
		WHERE b.buildset_id IN (?`+strings.Repeat(",?", len(args)-1)+`) ORDER BY b.buildset_id, b.position`, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var bsid int64
		var s state.SourceStamp
		if err := rows.Scan(&bsid, &s.ID, &s.Branch, &s.Revision, &s.Project, &s.Repository, &s.Codebase, (*int64)(&s.CreatedAt)); err != nil {
			return err
		}
		index[bsid].SourceStamps = append(index[bsid].SourceStamps, s)
	}
	return rows.Err()
}

// Commands implements state.ReadTx.
func (r reader) Commands(buildID int64) ([]state.Command, error) {
	return rowsOf(r, scanCommand, "SELECT "+commandColumns+" FROM commands WHERE build_id=? ORDER BY n", buildID)
}

// Count implements state.ReadTx.
func (r reader) Count(name string, q state.Query) (int64, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	s, res, err := filter(name, q)
	if err != nil {
		return 0, err
	}
	var n int64
	if err := r.c.row("SELECT count(*) FROM "+res.table+s.where, s.args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count %s: %w", name, explain(err))
	}
	return n, nil
}

// BuildProperties implements state.ReadTx.
func (r reader) BuildProperties(buildID int64) (state.Properties, error) {
	var data string
	if err := r.c.row("SELECT properties FROM builds WHERE id=?", buildID).Scan(&data); err != nil {
		return nil, fmt.Errorf("read properties of build %d: %w", buildID, missing(err))
	}
	return parseProperties(data)
}

// BuildSecrets implements state.ReadTx.
func (r reader) BuildSecrets(buildID int64) ([]string, error) {
	scan := func(s scanner, name *string) error { return s.Scan(name) }
	return rowsOf(r, scan, "SELECT name FROM build_secrets WHERE build_id=? ORDER BY name", buildID)
}

// list runs a query over a resource.
func list[T any](r reader, name, columns string, q state.Query, scan func(scanner, *T) error) ([]T, error) {
	clause, args, err := compile(name, q)
	if err != nil {
		return nil, err
	}
	return rowsOf(r, scan, "SELECT "+columns+" FROM "+name+clause, args...)
}

// rowsOf returns the rows of a statement.
func rowsOf[T any](r reader, scan func(scanner, *T) error, query string, args ...any) ([]T, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	rows, err := r.c.query(query, args...)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		var row T
		if err := scan(rows, &row); err != nil {
			return nil, explain(err)
		}
		all = append(all, row)
	}
	return all, explain(rows.Err())
}

// missing turns "no rows" into state.ErrNotFound.
func missing(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return state.ErrNotFound
	}
	return explain(err)
}

func parseProperties(data string) (state.Properties, error) {
	if data == "{}" {
		return state.Properties{}, nil
	}
	var p state.Properties
	if err := p.UnmarshalJSON([]byte(data)); err != nil {
		return nil, fmt.Errorf("read properties: %w", err)
	}
	return p, nil
}

func scanMaster(s scanner, m *state.Master) error {
	return s.Scan(&m.ID, &m.Name, &m.Active, (*int64)(&m.LastActive))
}

func scanBuilder(s scanner, b *state.Builder) error {
	var tags string
	if err := s.Scan(&b.ID, &b.Name, &b.Description, &b.DescriptionFormat, &b.ProjectID, &tags, &b.Active); err != nil {
		return err
	}
	if tags == "[]" {
		return nil
	}
	return json.Unmarshal([]byte(tags), &b.Tags)
}

func scanProject(s scanner, p *state.Project) error {
	return s.Scan(&p.ID, &p.Name, &p.Slug, &p.Description, &p.DescriptionFormat, &p.Active)
}

func scanWorker(s scanner, w *state.Worker) error {
	q := &w.Quarantine
	return s.Scan(&w.ID, &w.Name, &w.Paused, &w.PauseReason, &w.PausedBy, (*int64)(&w.PausedAt),
		&w.Graceful, &w.GracefulReason, &w.GracefulBy, (*int64)(&w.GracefulAt), &w.GracefulLife,
		(*int64)(&q.Since), (*int64)(&q.Until), &q.Count, &q.Cause, &q.BuildID,
		(*string)(&w.Info), &w.Connected, (*int64)(&w.ChangedAt), &w.Active)
}

func scanSource(s scanner, c *state.ChangeSource) error {
	return s.Scan(&c.ID, &c.Name, &c.Error, &c.Active)
}

func scanScheduler(s scanner, c *state.Scheduler) error {
	return s.Scan(&c.ID, &c.Name, &c.Enabled, &c.Active, &c.Error, (*int64)(&c.ErrorAt), (*int64)(&c.ActedAt))
}

func scanStamp(s scanner, t *state.SourceStamp) error {
	return s.Scan(&t.ID, &t.Branch, &t.Revision, &t.Project, &t.Repository, &t.Codebase, (*int64)(&t.CreatedAt))
}

func scanBuildset(s scanner, b *state.Buildset) error {
	var results int64
	var props string
	if err := s.Scan(&b.ID, &b.ExternalID, &b.Reason, &b.Scheduler, (*int64)(&b.SubmittedAt), &b.Complete, (*int64)(&b.CompleteAt), &results,
		&b.ParentBuildID, &b.ParentStep, &b.ParentSeq, &b.ParentRelationship, &b.RebuiltBuildID, &props); err != nil {
		return err
	}
	b.Results = config.Result(results)
	var err error
	b.Properties, err = parseProperties(props)
	return err
}

func scanRequest(s scanner, r *state.BuildRequest) error {
	var results int64
	err := s.Scan(&r.ID, &r.BuildsetID, &r.BuilderID, &r.Priority, &r.Claimed, (*int64)(&r.ClaimedAt), &r.Complete, (*int64)(&r.CompleteAt), &results,
		(*int64)(&r.SubmittedAt), &r.WaitedFor, &r.Retries, &r.CollapsedTo)
	r.Results = config.Result(results)
	return err
}

func buildFields(b *state.Build, results *int64) []any {
	return []any{&b.ID, &b.Number, &b.BuilderID, &b.RequestID, &b.WorkerID, (*int64)(&b.StartedAt), (*int64)(&b.CompleteAt), &b.Complete,
		&b.LocksDuration, &b.StateString, results, &b.Generation, &b.StopReason, &b.Epoch, &b.WorkerLife, &b.Locked}
}

func scanBuild(s scanner, b *state.Build) error {
	var results int64
	err := s.Scan(buildFields(b, &results)...)
	b.Results = config.Result(results)
	return err
}

func scanBuildWithProperties(s scanner, b *state.Build) error {
	var results int64
	var props string
	if err := s.Scan(append(buildFields(b, &results), &props)...); err != nil {
		return err
	}
	b.Results = config.Result(results)
	var err error
	b.Properties, err = parseProperties(props)
	return err
}

func scanStep(s scanner, t *state.Step) error {
	var results int64
	var urls string
	err := s.Scan(&t.ID, &t.BuildID, &t.Number, &t.Name, (*int64)(&t.StartedAt), (*int64)(&t.LocksAcquiredAt), &t.Complete, (*int64)(&t.CompleteAt),
		&t.StateString, &results, &urls, &t.Hidden, &t.Position)
	t.Results = config.Result(results)
	if err != nil || urls == "[]" {
		return err
	}
	return json.Unmarshal([]byte(urls), &t.URLs)
}

func scanLog(s scanner, l *state.Log) error {
	return s.Scan(&l.ID, &l.StepID, &l.BuildID, &l.Name, &l.Slug, &l.Complete, &l.NumLines, &l.Type)
}

func scanCommand(s scanner, c *state.Command) error {
	return s.Scan(&c.ID, &c.BuildID, &c.StepID, &c.Seq, &c.Worker, &c.ArgsHash, &c.Done, &c.RC, &c.Failure)
}
