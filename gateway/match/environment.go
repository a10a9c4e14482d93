package match

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/containers"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"
)

// The names that a filter can use.
const (
	varData    = "data"
	varSubject = "subject"
	varTokens  = "tokens"
	varHeaders = "headers"
	varID      = "id"
	varTime    = "time"
)

const (
	// maxFilterLength is the longest filter, in characters.
	maxFilterLength = 16 << 10
	// maxRegexpSize is the largest regular expression, in instructions of its
	// program.
	maxRegexpSize = 1000
)

// language is what all filters have in common. It is safe for concurrent use.
type language struct {
	env *cel.Env
	// compiling is held while a filter is compiled: the checker builds the list
	// of names for its suggestions when it first needs it, and does not keep
	// others from reading it meanwhile.
	compiling sync.Mutex
	// missing is the type of the error for a field, key or index that is not
	// there.
	missing reflect.Type
}

// filters is the one language of all filters: it is costly to build and never
// changes afterwards.
var filters = sync.OnceValues(newLanguage)

// newLanguage builds the language. The versions of its libraries are fixed, so
// that a newer cel-go does not change what a stored filter means.
func newLanguage() (*language, error) {
	env, err := cel.NewEnv(
		cel.VariableWithDoc(varData, cel.DynType, "the event's body, parsed as JSON"),
		cel.VariableWithDoc(varSubject, cel.StringType, "the subject that the event was published to"),
		cel.VariableWithDoc(varTokens, cel.ListType(cel.StringType), "the tokens of the subject"),
		cel.VariableWithDoc(varHeaders, cel.MapType(cel.StringType, cel.StringType), "the first value of each header"),
		cel.VariableWithDoc(varID, cel.StringType, "the event's id"),
		cel.VariableWithDoc(varTime, cel.TimestampType, "when the event was accepted"),

		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.OptionalTypes(cel.OptionalTypesVersion(2)),
		ext.Strings(ext.StringsVersion(5)),

		cel.ParserExpressionSizeLimit(maxFilterLength),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(),
			cel.ValidateTimestampLiterals(),
		),
		// Errors of an evaluation quote the part of the filter that failed,
		// macros as they were written.
		cel.EnableMacroCallTracking(),
	)
	if err != nil {
		return nil, fmt.Errorf("build the environment of filters: %w", err)
	}
	missing, err := typeOfMissing()
	if err != nil {
		return nil, err
	}
	settleSharedErrors()
	return &language{env: env, missing: missing}, nil
}

// typeOfMissing finds out the type of the errors for what is missing, which
// the interpreter does not export, by asking an empty map for a key. To look
// for their text instead would be fooled by text from an event.
func typeOfMissing() (reflect.Type, error) {
	factory := interpreter.NewAttributeFactory(containers.DefaultContainer, types.DefaultTypeAdapter, types.NewEmptyRegistry())
	key, err := factory.NewQualifier(nil, 1, "key", false)
	if err != nil {
		return nil, fmt.Errorf("build a lookup: %w", err)
	}
	_, err = key.Qualify(interpreter.EmptyActivation(), map[string]any{})
	if err == nil {
		return nil, errors.New("a lookup in an empty map found something")
	}
	return reflect.TypeOf(err), nil
}

// settleSharedErrors ends a data race between evaluations before it begins.
// The interpreter notes in an error which node of its filter failed, if none is
// noted yet, also in the two error values that all evaluations of all filters
// share. Once something is noted they are only read; and what is noted here is
// no node, as that of another filter would be misleading.
func settleSharedErrors() {
	const nowhere = -1
	types.LabelErrNode(nowhere, types.NoSuchOverloadErr())
	types.LabelErrNode(nowhere, types.Int(math.MaxInt64).ConvertToType(types.TimestampType)) // timestamp overflow
}
