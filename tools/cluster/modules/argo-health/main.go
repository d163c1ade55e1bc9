// Argo-health reads one Kubernetes object (JSON) on stdin and prints, as one line of JSON, what a health script in Lua says
// of it: run as Argo CD runs those of its settings, in the same engine, with the same few libraries and the same second.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: argo-health SCRIPT <OBJECT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "argo-health:", err)
		os.Exit(1)
	}
}

func run(script string, in io.Reader, out io.Writer) error {
	object, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("cannot read stdin: %w", err)
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	// Argo CD opens these and a harmless part of `os`, and no `string` or `math`.
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(ctx)
	decoded, err := luajson.Decode(state, object)
	if err != nil {
		return fmt.Errorf("stdin holds no JSON: %w", err)
	}
	state.SetGlobal("obj", decoded)
	if err := state.DoFile(script); err != nil {
		return err
	}
	said, err := luajson.Encode(state.Get(-1))
	if err != nil {
		return err
	}
	var health struct {
		Status  string `json:"status"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(said, &health); err != nil {
		return fmt.Errorf("the script returned no health: %s", said)
	}
	return json.NewEncoder(out).Encode(health)
}
