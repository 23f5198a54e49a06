"""Azure Machine Learning online endpoints: "Use a custom container to deploy a model" (`inference_config`)."""

from argosy_conformance.check import check
from argosy_conformance.clouds import calls
from argosy_conformance.subject import Subject


def score(subject: Subject) -> str:
    return subject.routes.get("predict", "/score")


@check("azureml.liveness", "GET of the liveness and readiness route is 200 within 2 s")
def liveness(subject: Subject) -> str | None:
    calls.healthy(subject, subject.routes.get("health", "/"), 2)
    return None


@check("azureml.rows", "POST of the scoring route answers each row, in order")
def rows(subject: Subject) -> str | None:
    calls.alone_and_together(subject, score(subject))
    return None


@check("azureml.input_data", "rows under input_data are taken, as Azure's own MLflow server takes them")
def input_data(subject: Subject) -> str | None:
    answer = subject.http.post(score(subject), {"input_data": calls.rows(subject)})
    if 400 <= answer.status < 500:
        return f"input_data is refused: {answer.seen()}"
    calls.predictions(answer, 2)
    return None


@check("azureml.nonsense", "what is no request is a 4xx")
def nonsense(subject: Subject) -> str | None:
    calls.nonsense(subject, score(subject))
    return None


@check("azureml.at_once", "requests at one time are all answered")
def at_once(subject: Subject) -> str | None:
    calls.at_once(subject, score(subject))
    return None
