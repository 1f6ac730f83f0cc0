"""The text a surgeon reads beside the score, in the Spanish of the reference AI service. Pure."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devices.scoring import Dexterity, Risk

LABELS = ((90, "🏆", "EXCELENTE"), (75, "✅", "BUENO"), (60, "⚠️", "MEJORABLE"))
LOWEST = ("❌", "DEFICIENTE")
UNKNOWN = "n/d"


def label_of(score: float) -> str:
    """Return EXCELENTE, BUENO, MEJORABLE or DEFICIENTE."""
    return _verdict(score)[1]


def text_of(score: float, dexterity: "Dexterity", risk: "Risk") -> str:
    """Return the whole text, several lines; its first line carries label and score."""
    emoji, label = _verdict(score)
    sections = (
        [f"{emoji} {label} | Score: {score:.1f}/100"],
        _alerts(risk),
        _skill(dexterity, risk),
        _statistics(dexterity),
        _advice(dexterity, risk),
    )
    return "\n\n".join("\n".join(section) for section in sections if section)


def _verdict(score: float) -> tuple[str, str]:
    for least, emoji, label in LABELS:
        if score >= least:
            return emoji, label
    return LOWEST


def _alerts(risk: "Risk") -> list[str]:
    return [
        "🚨 ALERTAS CRÍTICAS",
        f"• Hemorragias: {risk.hemorrhages}",
        f"• Lesión Tejido Sano: {risk.kidney_touches}",
        f"• Cuadrantes de Riesgo: {', '.join(risk.risk_quadrants) or 'ninguno'}",
    ]


def _skill(dexterity: "Dexterity", risk: "Risk") -> list[str]:
    return [
        "📊 MÉTRICAS DE DESTREZA",
        f"• Remoción Tumor: {risk.tumor_progress:.1f}%",
        f"• Economía de Movimiento: {_number(dexterity.economy, '.2f')}x (ideal < 1.2)",
        f"• Jerk (fluidez): {_number(dexterity.mean_jerk, '.2f')}",
        f"• Precisión de Trayectoria: {_number(dexterity.precision, '.1f')}%",
    ]


def _statistics(dexterity: "Dexterity") -> list[str]:
    return [
        "📈 ESTADÍSTICAS",
        f"• Duración: {dexterity.duration_seconds:.1f} s",
        f"• Distancia: {_number(dexterity.path_length, '.2f')} u",
        f"• Velocidad: {_number(dexterity.mean_speed, '.2f')} u/s",
    ]


def _advice(dexterity: "Dexterity", risk: "Risk") -> list[str]:
    reasons = (
        (risk.hemorrhages > 0, "Mejorar el control vascular: hubo sangrado."),
        (risk.kidney_touches > 3, "Evitar el contacto con el tejido sano."),
        (_exceeds(dexterity.economy, 1.8), "Planificar trayectorias más directas."),
        (_falls_short(dexterity.precision, 70), "Practicar la estabilidad del instrumento."),
        (risk.tumor_progress < 70, "Completar la remoción del tumor."),
    )
    bullets = [f"• {advice}" for applies, advice in reasons if applies]
    return ["💡 RECOMENDACIONES", *bullets] if bullets else []


def _exceeds(value: float | None, limit: float) -> bool:
    return value is not None and value > limit


def _falls_short(value: float | None, limit: float) -> bool:
    return value is not None and value < limit


def _number(value: float | None, form: str) -> str:
    return UNKNOWN if value is None else format(value, form)
