package sqlite

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"buildstar/state"
)

// PutGeneration implements state.Tx. Inputs are kept once per content. Generations
// that are neither in force nor of a running build or an instance are removed, with the inputs
// that nothing else has.
func (t *tx) PutGeneration(g state.Generation) (int64, error) {
	id, err := t.putGeneration(g)
	if err != nil {
		return 0, fmt.Errorf("write generation: %w", explain(err))
	}
	return id, nil
}

func (t *tx) putGeneration(g state.Generation) (int64, error) {
	var known []int64
	known, err := rowsOf(t.reader, func(s scanner, id *int64) error { return s.Scan(id) }, "SELECT id FROM generations WHERE digest=?", g.Digest)
	if err != nil {
		return 0, err
	}
	if len(known) > 0 {
		g.ID = known[0]
	} else if g.ID, err = t.addGeneration(g); err != nil {
		return 0, err
	}
	if _, err := t.c.exec("UPDATE generations SET in_force=CASE WHEN id=? THEN 1 ELSE 0 END", g.ID); err != nil {
		return 0, err
	}
	return g.ID, t.pruneGenerations()
}

func (t *tx) addGeneration(g state.Generation) (int64, error) {
	env, err := json.Marshal(g.Env)
	if err != nil {
		return 0, err
	}
	id, err := t.c.insert("INSERT INTO generations (created_at, digest, main, env, in_force) VALUES (?,?,?,?,0)", int64(g.CreatedAt), g.Digest, g.Main, string(env))
	if err != nil {
		return 0, err
	}
	for _, path := range slices.Sorted(maps.Keys(g.Inputs)) {
		data := g.Inputs[path]
		if data == nil {
			data = []byte{}
		}
		digest := sha256.Sum256(data)
		if _, err := t.c.exec("INSERT INTO inputs (digest, data) VALUES (?,?) ON CONFLICT (digest) DO NOTHING", digest[:], data); err != nil {
			return 0, err
		}
		if _, err := t.c.exec("INSERT INTO generation_inputs (generation_id, path, digest) VALUES (?,?,?)", id, path, digest[:]); err != nil {
			return 0, err
		}
	}
	return id, nil
}

func (t *tx) pruneGenerations() error {
	const unneeded = "SELECT id FROM generations WHERE in_force=0 AND id NOT IN (SELECT generation FROM builds WHERE complete=0)" +
		" AND id NOT IN (SELECT generation FROM instances WHERE gone_at=0)"
	for _, query := range []string{
		"DELETE FROM generation_inputs WHERE generation_id IN (" + unneeded + ")",
		"DELETE FROM generations WHERE id IN (" + unneeded + ")",
		"DELETE FROM inputs WHERE digest NOT IN (SELECT digest FROM generation_inputs)",
	} {
		if _, err := t.c.exec(query); err != nil {
			return err
		}
	}
	return nil
}

// Generation implements state.ReadTx. Id 0 is the generation in force.
func (r reader) Generation(id int64) (state.Generation, error) {
	g, err := r.generation(id)
	if err != nil {
		return g, fmt.Errorf("read generation %d: %w", id, missing(err))
	}
	return g, nil
}

// HasGeneration implements state.ReadTx.
func (r reader) HasGeneration(id int64) (has bool, err error) {
	err = r.c.row("SELECT EXISTS (SELECT 1 FROM generations WHERE id=?)", id).Scan(&has)
	if err != nil {
		return false, fmt.Errorf("look for generation %d: %w", id, err)
	}
	return has, nil
}

func (r reader) generation(id int64) (g state.Generation, err error) {
	where, arg := "id=?", id
	if id == 0 {
		where, arg = "in_force=?", 1
	}
	var env string
	err = r.c.row("SELECT id, created_at, digest, main, env FROM generations WHERE "+where, arg).Scan(&g.ID, (*int64)(&g.CreatedAt), &g.Digest, &g.Main, &env)
	if err != nil {
		return g, err
	}
	if err := json.Unmarshal([]byte(env), &g.Env); err != nil {
		return g, err
	}
	rows, err := r.c.query("SELECT p.path, i.data FROM generation_inputs AS p JOIN inputs AS i ON i.digest=p.digest WHERE p.generation_id=?", g.ID)
	if err != nil {
		return g, err
	}
	defer rows.Close()
	g.Inputs = make(map[string][]byte)
	for rows.Next() {
		var path string
		var data []byte
		if err := rows.Scan(&path, &data); err != nil {
			return g, err
		}
		g.Inputs[path] = append([]byte{}, data...) // an empty file is not a missing one
	}
	return g, rows.Err()
}
